// The timeline as a PNG, drawn on a canvas: title, area, rows, axis and key, in light colours.

import { COLOURS, EMOTIONS, likeliest } from "./emotions.js";
import { make } from "./dom.js";
import { bands, joinStretches } from "./timeline.js";
import { clock, headline, percent } from "./words.js";

const SIZE = { width: 1200, height: 560 };
const AREA = { left: 90, top: 70, width: 920, height: 330 };
const EMPTY = "#f3f4f6"; // where nobody was seen or heard

/** Returns a promise of the PNG as a blob. */
export function drawPicture(prediction) {
  const canvas = make("canvas", SIZE);
  const context = canvas.getContext("2d");
  context.fillStyle = "#ffffff";
  context.fillRect(0, 0, SIZE.width, SIZE.height);
  const end = Math.max(prediction.duration_s, 1e-3);
  write(context, `${prediction.clip}: ${headline(prediction)}`, AREA.left, 40, "600 22px sans-serif");
  drawArea(context, prediction.timeline, end);
  drawRow(context, "face", prediction, end, 420);
  drawRow(context, "voice", prediction, end, 460);
  for (const share of [0, 0.25, 0.5, 0.75, 1]) write(context, clock(share * end), AREA.left + share * AREA.width - 12, 520);
  EMOTIONS.toReversed().forEach((emotion, index) => {
    context.fillStyle = COLOURS[emotion];
    context.fillRect(1030, 80 + index * 34, 20, 20);
    const share = prediction.label ? ` ${percent(prediction.probabilities[emotion])}` : "";
    write(context, emotion + share, 1060, 96 + index * 34);
  });
  return new Promise((resolve) => canvas.toBlob(resolve, "image/png"));
}

function write(context, text, x, y, font = "16px sans-serif") {
  context.font = font;
  context.fillStyle = "#1b1f24";
  context.fillText(text, x, y);
}

function drawArea(context, windows, end) {
  context.fillStyle = EMPTY;
  context.fillRect(AREA.left, AREA.top, AREA.width, AREA.height);
  for (const { emotion, outline } of bands(windows, end)) {
    context.beginPath();
    for (const { time, share } of outline) {
      context.lineTo(AREA.left + (time / end) * AREA.width, AREA.top + (1 - share) * AREA.height);
    }
    context.fillStyle = COLOURS[emotion];
    context.fill();
  }
}

function drawRow(context, name, prediction, end, top) {
  write(context, name, 30, top + 20);
  const windows = prediction.timeline.map((window) => ({ ...window, label: window[name] && likeliest(window[name]) }));
  for (const { start, end: until, label } of joinStretches(windows, end)) {
    context.fillStyle = COLOURS[label] ?? EMPTY;
    context.fillRect(AREA.left + (start / end) * AREA.width, top, ((until - start) / end) * AREA.width, 28);
  }
}
