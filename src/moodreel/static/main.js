// The page: what is shown when, and who tells whom.

import { checkAccess, deleteJob, followJob, hasLibrary, Problem, takeAnswer, uploadClip } from "./api.js";
import { showBars } from "./bars.js";
import { byId, make } from "./dom.js";
import { offerDownloads } from "./downloads.js";
import { EMOTIONS } from "./emotions.js";
import { hideFailure, onToken, tellFailure } from "./failures.js";
import { History } from "./history.js";
import { Live } from "./live.js";
import { Player, segmentAt } from "./player.js";
import { Timeline } from "./timeline.js";
import { clock, describeWindow, headline, moment, notes, percent, source } from "./words.js";

const SCREENS = ["start", "work", "answer", "live"];

const timeline = new Timeline(byId("timeline"), { onSeek: (time) => player.seek(time) });
const player = new Player(byId("player"), {
  onTime: (time) => showTime(time),
  onThumbnail: (id, canvas) => timeline.setThumbnail(id, canvas),
});
let shown; // the prediction on the screen
let work; // what breaks off the upload or job on its way
let live;
const history = new History();
let retry = () => {};
const waiting = []; // files that were dropped together, or while another was read

function show(name) {
  for (const screen of SCREENS) byId(screen).hidden = screen !== name;
  hideFailure();
  showHistory();
  tellWaiting();
}

/** Offer what was seen live beside the camera, and after it until something else is looked at. */
function showHistory() {
  byId("history").hidden = !history.windows.length || (byId("live").hidden && byId("start").hidden);
}

const isBusy = () => !byId("live").hidden || !byId("work").hidden;

/** Read a clip now and the others in turn, each when the person has seen the answer before it. */
function readClips(files) {
  waiting.push(...files);
  if (isBusy()) tellWaiting();
  else readNext();
}

function readNext() {
  if (waiting.length) readClip(waiting.shift());
}

function tellWaiting() {
  byId("waiting").hidden = !waiting.length;
  byId("next").hidden = isBusy();
  if (!waiting.length) return;
  byId("waiting-text").textContent = `Waiting: ${waiting.map(({ name }) => name).join(", ")}`;
  byId("next").textContent = `Read ${waiting[0].name} now`;
}

async function readClip(file) {
  if (isBusy()) return;
  retry = () => readClip(file);
  work = new AbortController();
  const { signal } = work;
  show("work");
  tellWork(`Sending ${file.name}`, 0);
  let job;
  try {
    await checkAccess(signal);
    job = await uploadClip(file, { signal, onShare: (share) => tellWork(`Sending ${file.name}`, share) });
    await followJob(job.id, { signal, onState: tellJob });
    const answer = await takeAnswer(job.id, signal);
    await showAnswer(file, answer);
  } catch (error) {
    if (job && !(error instanceof Problem)) deleteJob(job.id);
    show("start");
    if (error.name !== "AbortError") tellFailure(error);
  }
}

function tellJob({ state, progress, clip }) {
  tellWork(state === "queued" ? `${clip} waits for its turn` : `Reading ${clip}`, progress);
}

function tellWork(text, share) {
  const status = byId("work-text");
  if (status.textContent !== text) status.textContent = text;
  byId("work-share").value = share;
}

async function showAnswer(file, answer) {
  const { prediction } = answer;
  shown = prediction;
  show("answer");
  byId("answer-title").textContent = headline(prediction);
  byId("answer-clip").textContent = [prediction.clip, prediction.duration_s ? clock(prediction.duration_s) : "a picture",
    `model ${prediction.model}`].join(" · ");
  const isCrowd = prediction.scope === "crowd" && prediction.duration_s > 0;
  byId("whole-title").textContent = isCrowd ? "How much of the time" : "The whole clip";
  showBars(byId("bars"), isCrowd ? { ...prediction, label: "crowd", probabilities: prediction.shares } : prediction);
  byId("spoken-for").textContent = spokenFor(prediction);
  byId("notes").replaceChildren(...notes(prediction).map(({ text, isWarning }) =>
    make("li", { textContent: text, className: isWarning ? "warning" : "" })));
  byId("over-time").hidden = prediction.duration_s === 0;
  timeline.show(prediction);
  fillTable(byId("table"), prediction.segments);
  player.show(file, prediction);
  showTime(0);
  await offerDownloads(byId("downloads"), answer);
  byId("answer").focus();
}

function showTime(time) {
  timeline.move(time);
  const segment = segmentAt(shown.segments, time);
  byId("readout").textContent = `At ${moment(time)}: ${describeWindow(segment)}${source(shown, segment)}`;
}

/** The one rule of boxes and panel, in words. */
function spokenFor({ scope, person, people }) {
  const whom = scope === "crowd" ? "whoever is seen most at that moment" : people.length > 1 ? `person ${person}` : "the clip";
  return `Boxes show the face alone; the chart and the line above it, face and voice of ${whom}.`;
}

function fillTable(table, segments) {
  const cells = (tag, texts) => make("tr", {}, ...texts.map((textContent) => make(tag, { textContent })));
  const rows = segments.map((segment) => {
    const times = `${segment.start_s.toFixed(1)} to ${segment.end_s.toFixed(1)} s`;
    const label = segment.abstained ? `${segment.label}?` : segment.label;
    if (segment.label) return cells("td", [times, label, ...EMOTIONS.map((emotion) => percent(segment.probabilities[emotion]))]);
    const row = cells("td", [times, describeWindow(segment)]);
    row.lastChild.colSpan = 1 + EMOTIONS.length;
    return row;
  });
  table.replaceChildren(make("thead", {}, cells("th", ["segment", "label", ...EMOTIONS])), make("tbody", {}, ...rows));
}

function startLive() {
  retry = startLive;
  show("live");
  byId("live").focus();
  byId("live-text").textContent = "Asking for camera and microphone";
  const parts = { player: byId("live-player"), text: byId("live-text"), bars: byId("live-bars"), notes: byId("live-notes") };
  live = new Live(parts, {
    onBegin: (model) => {
      history.begin(model);
      showHistory();
    },
    onWindow: (window) => {
      history.add(window);
      showHistory();
    },
    onEnd: (problem) => {
      show("start");
      if (problem) tellFailure(problem);
    },
  });
  live.start();
}

function startAgain() {
  player.close();
  show("start");
  byId("file").value = "";
  byId("file").focus();
}

function acceptDrops(target) {
  const mark = (isOver) => byId("drop").classList.toggle("over", isOver);
  target.addEventListener("dragover", (event) => { event.preventDefault(); mark(true); });
  target.addEventListener("dragleave", () => mark(false));
  target.addEventListener("drop", (event) => {
    event.preventDefault();
    mark(false);
    if (event.dataTransfer.files.length) readClips(event.dataTransfer.files);
  });
}

byId("file").addEventListener("change", ({ target }) => {
  readClips(target.files);
  target.value = ""; // so that the same file can be chosen once more
});
onToken(() => retry());
byId("next").addEventListener("click", readNext);
byId("cancel").addEventListener("click", () => work.abort());
byId("again").addEventListener("click", startAgain);
byId("camera").addEventListener("click", startLive);
byId("stop").addEventListener("click", () => live.stop());
byId("reset").addEventListener("click", () => live.reset());
for (const suffix of ["json", "csv"]) byId(`history-${suffix}`).addEventListener("click", () => history.save(suffix));
acceptDrops(document);
hasLibrary().then((isThere) => { byId("pages").hidden = !isThere; });
