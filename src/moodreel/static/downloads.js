// The answer as files.

import { make } from "./dom.js";
import { drawPicture } from "./picture.js";

let urls = [];

/** Let the person keep a blob as a file. */
export function saveBlob(blob, name) {
  const href = URL.createObjectURL(blob);
  make("a", { href, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(href), 60_000); // the download may still be asked about
}

/** Offer an answer as JSON, CSV, WebVTT and PNG. */
export async function offerDownloads(list, { prediction, csv, vtt }) {
  urls.forEach((url) => URL.revokeObjectURL(url));
  urls = [];
  const stem = prediction.clip.replace(/\.[^.]*$/, "") || "clip";
  const blobs = {
    JSON: [new Blob([JSON.stringify(prediction, null, 2)], { type: "application/json" }), "json"],
    CSV: [new Blob([csv], { type: "text/csv" }), "csv"],
    WebVTT: [new Blob([vtt], { type: "text/vtt" }), "vtt"],
    PNG: [await drawPicture(prediction), "png"],
  };
  list.replaceChildren(...Object.entries(blobs).map(([name, [blob, suffix]]) => {
    const href = URL.createObjectURL(blob);
    urls.push(href);
    return make("a", { className: "button", href, download: `${stem}.${suffix}`, textContent: name });
  }));
}
