// Moments as cards: the picture, what is shown, where it stands, and the curve of the emotion around it.

import { addressOf } from "./api.js";
import { COLOURS } from "./emotions.js";
import { draw, make } from "./dom.js";
import { moment as clockOf, percent } from "./words.js";

const CURVE = { width: 200, height: 40 };

/** A card of a moment; `onOpen` is called when it is chosen. One that is like another says how much. */
export function card(moment, { onOpen, isAlike }) {
  const button = make("button", { type: "button", className: "moment" }, shot(moment), about(moment, isAlike));
  button.addEventListener("click", () => onOpen(moment, button));
  return make("li", {}, button);
}

/** Where a moment stands: 0:12.0 to 0:14.5. */
export const span = ({ start_s: start, end_s: end }) => (end > start ? `${clockOf(start)} to ${clockOf(end)}` : "a picture");

/** Where a file stands within what was indexed. */
export const place = ({ folder, name }) => (folder ? `${folder}/${name}` : name);

function shot(moment) {
  const when = make("span", { className: "when", textContent: span(moment) });
  const box = make("span", { className: "shot" }, make("span", { className: "kind", textContent: "sound" }), when);
  if (moment.thumbnail) {
    const image = make("img", { src: addressOf(moment.thumbnail), alt: "", loading: "lazy" });
    image.addEventListener("error", () => image.remove());
    box.firstChild.replaceWith(make("span", { className: "kind", textContent: "no picture" }), image);
  }
  return box;
}

function about(moment, isAlike) {
  const { label, probabilities, file, person } = moment;
  const swatch = make("i", { className: "swatch" });
  swatch.style.background = COLOURS[label];
  const share = make("span", { className: "share", textContent: isAlike ? `${percent(moment.score)} alike` : percent(probabilities[label]) });
  const whose = person ? `, person ${person}` : "";
  return make("span", { className: "about" },
    make("span", { className: "what" }, swatch, label, share),
    make("span", { className: "file", textContent: place(file) + whose }),
    curve(moment));
}

/** The probability of the emotion around the moment, which is marked. */
function curve({ start_s: start, end_s: end, curve: { emotion, times_s: times, values } }) {
  const svg = draw("svg", { class: "curve", viewBox: `0 0 ${CURVE.width} ${CURVE.height}`, preserveAspectRatio: "none", "aria-hidden": "true" });
  const first = Math.min(start, times[0] ?? start);
  const length = Math.max(end, times.at(-1) ?? end) - first || 1;
  const x = (time) => (((time - first) / length) * CURVE.width).toFixed(1);
  const y = (value) => (CURVE.height - 2 - value * (CURVE.height - 4)).toFixed(1);
  svg.append(draw("rect", { class: "here", x: x(start), y: 0, width: Math.max(2, x(end) - x(start)), height: CURVE.height }));
  if (times.length) {
    // Held flat to both ends, as one window of a short file is a point.
    const points = [[first, values[0]], ...times.map((time, index) => [time, values[index]]), [first + length, values.at(-1)]];
    const line = points.map(([time, value]) => `${x(time)},${y(value)}`).join("L");
    svg.append(draw("path", { d: `M0,${CURVE.height}L${line}L${CURVE.width},${CURVE.height}Z`, fill: COLOURS[emotion] }));
    svg.append(draw("path", { class: "line", d: `M${line}` }));
  }
  return svg;
}
