// The page of a library: what is asked for, what was found, and which moment plays.

import { findMoments, Problem, readLibrary, readTimeline, takeMoments } from "./api.js";
import { byId, make } from "./dom.js";
import { saveBlob } from "./downloads.js";
import { hideFailure, onToken, tellFailure } from "./failures.js";
import { Filters } from "./filters.js";
import { card, place, span } from "./moments.js";
import { ShownFile } from "./shown_file.js";
import { nameHours, Strip } from "./strip.js";
import { percent } from "./words.js";

const EXAMPLES = ["happy > 0.7 and face", "angry > 0.5 and voice", "surprise > 0.5 and people >= 2", "sound = laughter"];
const ANYTHING = "not abstained"; // the surest moments, where nothing is asked for
const A_PAGE = 24;
const PATIENCE_MS = 250; // while a slider moves, or somebody ticks one box after another

const filters = new Filters({ onChange: () => searchSoon() });
const strip = new Strip(byId("strip"), byId("strip-axis"), { onChoose: (date) => chooseDate(date) });
const shown = new ShownFile({
  figure: byId("player"), timeline: byId("timeline"), overTime: byId("over-time"), readout: byId("readout"),
});
let moments = []; // those that are on the page
let asked = []; // names and values of the search that found them
let search; // what breaks off the one on its way
let playing; // the moment that plays, and its card
let waiting;
let likeness = ""; // the moment that others are to be like: file, start and end

async function open() {
  hideFailure();
  try {
    const held = await readLibrary();
    byId("library").hidden = false;
    const failed = held.n_failed ? `; ${held.n_failed} more could not be read` : "";
    byId("held").textContent = held.n_files
      ? `${held.n_files.toLocaleString("en")} files, ${nameHours(held.hours)}, found by what the people in them show${failed}.`
      : `The library holds no file that was read${failed}. Fill it with moodreel index.`;
    filters.offer(held);
    readAddress();
    strip.show(held, filters.date);
    await find();
  } catch (error) {
    tellFailure(error);
  }
}

/** Take up what the page's address says was asked for. */
function readAddress() {
  const said = new URLSearchParams(location.hash.slice(1));
  byId("query").value = said.get("q") ?? "";
  likeness = said.get("like") ?? "";
  filters.choose(said);
}

function writeAddress() {
  const text = byId("query").value.trim();
  const said = new URLSearchParams([...(text ? [["q", text]] : []), ...(likeness ? [["like", likeness]] : []), ...filters.chosen]);
  history.replaceState(null, "", `#${said}`);
  byId("clear").disabled = ![...said].length;
}

function searchSoon() {
  clearTimeout(waiting);
  waiting = setTimeout(find, PATIENCE_MS);
}

async function find() {
  clearTimeout(waiting);
  search?.abort();
  search = new AbortController();
  const { signal } = search;
  writeAddress();
  const queries = [byId("query").value.trim(), filters.query].filter(Boolean);
  const wish = [...(queries.length || likeness ? queries : [ANYTHING]).map((one) => ["q", one]), ["min_s", filters.leastSeconds]];
  if (likeness) wish.push(["like", likeness]);
  try {
    const found = await findMoments([...wish, ["limit", A_PAGE]], signal);
    hideFailure();
    mark(false);
    asked = wish;
    moments = [];
    byId("moments").replaceChildren();
    add(found);
    const whole = queries.length ? `The whole query: ${found.query}` : "";
    const of = likeness ? "Most like the moment that was chosen. " : "The surest of all; choose an emotion, or ask.";
    byId("asked").textContent = likeness ? of + whole : whole || of;
  } catch (error) {
    if (error.name === "AbortError") return;
    mark(error instanceof Problem && error.pointer);
    tellFailure(error);
  }
}

/** Say that the query is wrong, or that it no longer is. */
function mark(isWrong) {
  byId("query").setAttribute("aria-invalid", String(Boolean(isWrong)));
}

function add({ moments: more, n_moments: n, is_all: isAll }) {
  moments.push(...more);
  byId("moments").append(...more.map((one) => card(one, { onOpen: openMoment, isAlike: likeness !== "" })));
  const many = isAll ? n.toLocaleString("en") : `The best ${n.toLocaleString("en")}`;
  byId("told").textContent = n ? `${many} moment${n === 1 ? "" : "s"}, best first` : "No moment fits. Ask for less: lower a slider, or drop a condition.";
  byId("more").hidden = moments.length >= n;
  byId("downloads").hidden = !n;
}

async function showMore() {
  try {
    const first = moments.length;
    add(await findMoments([...asked, ["limit", A_PAGE], ["offset", first]], search.signal));
    byId("moments").children[first]?.firstChild.focus();
  } catch (error) {
    if (error.name !== "AbortError") tellFailure(error);
  }
}

async function openMoment(moment, button) {
  playing?.button.removeAttribute("aria-current");
  playing = { moment, button };
  button.setAttribute("aria-current", "true");
  byId("player-panel").hidden = false;
  byId("player-title").textContent = `${moment.label} ${percent(moment.probabilities[moment.label])}, ${span(moment)}`;
  byId("player-file").textContent = place(moment.file) + (moment.person ? `, person ${moment.person}` : "");
  byId("before").disabled = moments.indexOf(moment) === 0;
  byId("after").disabled = moments.indexOf(moment) === moments.length - 1;
  byId("save-vtt").hidden = !moment.file.duration_s;
  shown.play(moment);
  byId("player-panel").focus({ preventScroll: true });
  byId("player-panel").scrollIntoView({ block: "start", behavior: "smooth" });
  try {
    const told = await readTimeline(moment.file.id);
    if (playing?.moment !== moment) return;
    const found = moments.filter(({ file, person }) => file.id === moment.file.id && person === moment.person);
    shown.showTimeline(told, found.toSorted((a, b) => a.start_s - b.start_s));
  } catch (error) {
    tellFailure(error);
  }
}

function step(by) {
  const next = moments.indexOf(playing.moment) + by;
  if (moments[next]) openMoment(moments[next], byId("moments").children[next].firstChild);
}

function closePanel() {
  shown.close();
  byId("player-panel").hidden = true;
  const button = playing?.button;
  button?.removeAttribute("aria-current");
  playing = undefined;
  (button?.isConnected ? button : byId("query")).focus();
}

function chooseDate(date) {
  filters.date = date;
  strip.mark(date);
  find();
}

async function save(format, more = []) {
  try {
    saveBlob(await takeMoments(format, [...asked, ...more]), `moments.${format}`);
  } catch (error) {
    tellFailure(error);
  }
}

function findAlike() {
  const { file, start_s: start, end_s: end } = playing.moment;
  byId("query").value = "";
  filters.choose(new URLSearchParams());
  strip.mark("");
  likeness = `${file.id},${start},${end}`;
  closePanel();
  find();
}

function clear() {
  byId("query").value = likeness = "";
  filters.choose(new URLSearchParams());
  strip.mark("");
  find();
}

byId("examples").replaceChildren(...EXAMPLES.map((example) => {
  const button = make("button", { type: "button", textContent: example });
  button.addEventListener("click", () => {
    byId("query").value = example;
    find();
  });
  return button;
}));
byId("search").addEventListener("submit", (event) => {
  event.preventDefault();
  find();
});
byId("query").addEventListener("search", ({ target }) => target.value || find()); // its cross was clicked
byId("more").addEventListener("click", showMore);
byId("clear").addEventListener("click", clear);
byId("before").addEventListener("click", () => step(-1));
byId("after").addEventListener("click", () => step(1));
byId("alike").addEventListener("click", findAlike);
byId("close").addEventListener("click", closePanel);
byId("player-panel").addEventListener("keydown", (event) => {
  if (event.key === "Escape" && !document.fullscreenElement) closePanel();
});
for (const format of ["csv", "edl"]) byId(`save-${format}`).addEventListener("click", () => save(format));
byId("save-vtt").addEventListener("click", () => save("vtt", [["file", playing.moment.file.id]]));
window.addEventListener("hashchange", () => {
  readAddress();
  strip.mark(filters.date);
  find();
});
onToken(open);
if (matchMedia("(max-width: 44rem)").matches) byId("facets-fold").open = false;
open();
