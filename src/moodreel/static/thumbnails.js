// A face of each person, cut out of the clip in the browser: the server keeps no picture of anybody.

import { make } from "./dom.js";

const SIDE_PX = 96;
const MARGIN = 0.25; // of the box, on each side

/** Cut one face a person and hand each over as a canvas, one after another. `shown` is the picture or video on the page. */
export async function cutThumbnails(shown, people, onThumbnail) {
  const seen = people.filter((person) => person.boxes.length);
  for (const person of seen) {
    const { time_s: time, box_px: box } = largestBox(person.boxes);
    const source = shown instanceof HTMLVideoElement ? await openAt(shown.src, time) : shown;
    if (!source) return;
    onThumbnail(person.id, cut(source, box));
  }
}

const largestBox = (boxes) =>
  boxes.reduce((best, one) => (one.box_px[3] - one.box_px[1] > best.box_px[3] - best.box_px[1] ? one : best));

/** A second video, standing at a time, so that the one on the page stays where it is; `null` if it was closed meanwhile. */
function openAt(url, time) {
  return new Promise((resolve) => {
    const video = make("video", { src: url, muted: true, preload: "auto" });
    video.onloadeddata = () => { video.currentTime = time; };
    video.onseeked = () => resolve(video);
    video.onerror = () => resolve(null);
  });
}

function cut(source, [left, top, right, bottom]) {
  const side = Math.max(right - left, bottom - top) * (1 + 2 * MARGIN);
  const x = (left + right - side) / 2;
  const y = (top + bottom - side) / 2;
  const canvas = make("canvas", { width: SIDE_PX, height: SIDE_PX, className: "thumbnail" });
  canvas.getContext("2d").drawImage(source, x, y, side, side, 0, 0, SIDE_PX, SIDE_PX);
  return canvas;
}
