// The seven probabilities as bars with names and numbers.

import { COLOURS, EMOTIONS } from "./emotions.js";
import { make } from "./dom.js";
import { percent } from "./words.js";

/** Show probabilities in a list, in the one order of the emotions. */
export function showBars(list, probabilities) {
  list.replaceChildren(...EMOTIONS.map((emotion) => bar(emotion, probabilities[emotion])));
}

function bar(emotion, share) {
  const fill = make("div", { className: "fill" });
  fill.style.width = percent(share);
  fill.style.background = COLOURS[emotion];
  const track = make("div", { className: "track" }, fill);
  return make("li", {}, emotion, track, make("span", { className: "share", textContent: percent(share) }));
}
