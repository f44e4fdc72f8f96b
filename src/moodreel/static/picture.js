// The timeline as a PNG, drawn on a canvas: title, area, rows, axis and key, in light colours.

import { COLOURS, EMOTIONS } from "./emotions.js";
import { make } from "./dom.js";
import { bands } from "./timeline.js";
import { clock, headline, percent } from "./words.js";

const SIZE = { width: 1200, height: 560 };
const ROW = 40;
const MOST_LANES = 12;
const AREA = { left: 90, top: 70, width: 920, height: 330 };
const EMPTY = "#f3f4f6"; // where nobody was seen or heard

/** Returns a promise of the PNG as a blob. */
export function drawPicture(prediction) {
  const rows = lanes(prediction);
  const height = SIZE.height + ROW * (rows.length - 2);
  const canvas = make("canvas", { width: SIZE.width, height });
  const context = canvas.getContext("2d");
  context.fillStyle = "#ffffff";
  context.fillRect(0, 0, SIZE.width, height);
  const end = Math.max(prediction.duration_s, 1e-3);
  write(context, `${prediction.clip}: ${headline(prediction)}`, AREA.left, 40, "600 22px sans-serif");
  drawArea(context, prediction.segments, end);
  rows.forEach(([name, stretches], index) => drawRow(context, name, stretches, end, 420 + ROW * index));
  for (const share of [0, 0.25, 0.5, 0.75, 1]) write(context, clock(share * end), AREA.left + share * AREA.width - 12, height - 40);
  EMOTIONS.toReversed().forEach((emotion, index) => {
    context.fillStyle = COLOURS[emotion];
    context.fillRect(1030, 80 + index * 34, 20, 20);
    const shares = prediction.scope === "crowd" && prediction.duration_s ? prediction.shares : prediction.probabilities;
    const share = prediction.label ? ` ${percent(shares[emotion])}` : "";
    write(context, emotion + share, 1060, 96 + index * 34);
  });
  return new Promise((resolve) => canvas.toBlob(resolve, "image/png"));
}

/** Names and stretches of the rows: face, voice, and each of several people. */
function lanes({ stretches, people }) {
  const beside = people.length > 1 ? people.slice(0, MOST_LANES).toSorted((a, b) => a.id - b.id) : [];
  return [["face", stretches.face], ["voice", stretches.voice],
    ...beside.map(({ id, stretches: own }) => [`person ${id}`, own])];
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

function drawRow(context, name, stretches, end, top) {
  write(context, name, 8, top + 20);
  context.fillStyle = EMPTY;
  context.fillRect(AREA.left, top, AREA.width, 28);
  for (const { start_s: start, end_s: until, label, abstained } of stretches) {
    context.fillStyle = COLOURS[label];
    const inset = abstained ? 10 : 0; // thin: unsure
    const width = until > start ? (until - start) / end : 1;
    context.fillRect(AREA.left + (start / end) * AREA.width, top + inset, width * AREA.width, 28 - 2 * inset);
  }
}
