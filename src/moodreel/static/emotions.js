// The seven emotions in their one order, and their colours: Okabe & Ito's palette, which colour-blind people can tell
// apart, with grey for neutral; the same as in the pictures of the command line.

export const EMOTIONS = ["angry", "disgust", "fear", "happy", "neutral", "sad", "surprise"];

export const COLOURS = {
  angry: "#d55e00", disgust: "#009e73", fear: "#cc79a7", happy: "#f0e442", neutral: "#9a9a9a", sad: "#0072b2",
  surprise: "#56b4e9",
};

/** The colour of text that is read on an emotion's colour. */
export const inkOn = (emotion) => (emotion === "sad" ? "#ffffff" : "#000000");

/** The likeliest emotion of a set of probabilities. */
export const likeliest = (probabilities) =>
  EMOTIONS.reduce((best, one) => (probabilities[one] > probabilities[best] ? one : best));
