// The seven probabilities as bars with names and numbers.

import { COLOURS, EMOTIONS } from "./emotions.js";
import { make } from "./dom.js";
import { percent } from "./words.js";

/** Show an answer's probabilities in a list, in the one order of the emotions; where nobody was seen or heard, none. */
export function showBars(list, { label, probabilities }) {
  list.replaceChildren(...EMOTIONS.map((emotion) => bar(emotion, label ? percent(probabilities[emotion]) : "")));
}

function bar(emotion, share) {
  const fill = make("div", { className: "fill" });
  fill.style.width = share || "0";
  fill.style.background = COLOURS[emotion];
  const track = make("div", { className: "track" }, fill);
  return make("li", {}, emotion, track, make("span", { className: "share", textContent: share || "–" }));
}
