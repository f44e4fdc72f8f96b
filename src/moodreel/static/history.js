// What a live session saw, kept in the page until the next one begins: as files for whoever wants them.

import { saveBlob } from "./downloads.js";
import { EMOTIONS } from "./emotions.js";

const MODALITIES = ["face", "voice"];
// As the columns of the CSV of clips; docs/output.md says what they mean.
const COLUMNS = ["start_s", "end_s", "label", ...EMOTIONS, ...MODALITIES.flatMap((name) => EMOTIONS.map((one) => `${name}_${one}`)),
  ...MODALITIES.map((name) => `${name}_state`), ...MODALITIES.map((name) => `${name}_weight`), "abstained"];

/** The windows of one live session. */
export class History {
  constructor() {
    this.windows = [];
  }

  /** Forget what was seen: another session begins. */
  begin(model) {
    Object.assign(this, { model, begun: new Date(), windows: [] });
  }

  /** Keep what the server told of one window. */
  add({ type, ...window }) {
    this.windows.push(window);
  }

  /** Let the person keep it, as `json` or `csv`. */
  save(suffix) {
    const { model, begun, windows } = this;
    const text = suffix === "csv" ? writeCsv(windows) : JSON.stringify({ model, begun_at: begun.toISOString(), windows }, null, 2);
    const type = suffix === "csv" ? "text/csv" : "application/json";
    saveBlob(new Blob([text], { type }), `live ${begun.toISOString().slice(0, 19).replaceAll(":", "-")}.${suffix}`);
  }
}

function writeCsv(windows) {
  const rows = windows.map(({ start_s, end_s, label, probabilities, modalities, abstained }) => {
    const read = MODALITIES.map((name) => modalities[name]);
    return [start_s, end_s, label ?? "", ...seven(label && probabilities), ...read.flatMap((one) => seven(one.probabilities)),
      ...read.map(({ state }) => state), ...read.map(({ weight }) => weight), String(abstained)];
  });
  return [COLUMNS, ...rows].map((row) => `${row.map(writeCell).join(",")}\n`).join("");
}

const seven = (probabilities) => EMOTIONS.map((emotion) => (probabilities ? probabilities[emotion] : ""));
const writeCell = (value) => (typeof value === "string" ? `"${value}"` : value);
