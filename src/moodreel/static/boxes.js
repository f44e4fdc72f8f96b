// Boxes around faces, drawn over a picture in its own pixels.

import { COLOURS } from "./emotions.js";
import { draw } from "./dom.js";

const HOLD_S = 0.4; // a box is shown this long around the instant it was seen at

/** A layer to draw on; its picture may scale as it likes, since both keep their proportions. */
export function makeLayer(width, height) {
  return draw("svg", { viewBox: `0 0 ${width} ${height}`, "aria-hidden": "true" });
}

/** Draw boxes: each `{box, label, name}` with `box` as left, top, right, bottom. */
export function drawBoxes(layer, boxes) {
  const size = layer.viewBox.baseVal.height / 22;
  layer.replaceChildren(...boxes.flatMap(({ box: [left, top, right, bottom], label, name }) => {
    const colour = COLOURS[label] ?? "#ffffff";
    const rect = draw("rect", { x: left, y: top, width: right - left, height: bottom - top, stroke: colour });
    const place = { x: left, y: Math.max(size, top - size / 3), fill: "#ffffff", "font-size": size, "stroke-width": size / 4 };
    const text = draw("text", place);
    text.textContent = name;
    return [rect, text];
  }));
}

/** Where a person's face stands at an instant: between the two boxes around it, or at the only one near; or `null`. */
export function boxAt(boxes, time) {
  const after = boxes.findIndex((box) => box.time_s >= time);
  const [before, next] = after < 0 ? [boxes.at(-1), undefined] : [boxes[after - 1], boxes[after]];
  if (before && next && next.time_s - before.time_s <= 2 * HOLD_S) {
    const part = (time - before.time_s) / (next.time_s - before.time_s);
    return before.box_px.map((edge, side) => edge + part * (next.box_px[side] - edge));
  }
  const near = [before, next].find((box) => box && Math.abs(box.time_s - time) <= HOLD_S);
  return near ? near.box_px : null;
}
