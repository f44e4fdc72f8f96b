// Calls to the server.

const CLIPS = "v1/predictions";
const TOKEN_KEY = "moodreel token";
let token = sessionStorage.getItem(TOKEN_KEY) ?? ""; // kept for the tab

/** A failure told by the server: problem details, see RFC 9457. */
export class Problem extends Error {
  constructor({ title, detail, status, pointer }) {
    super(detail);
    this.title = title;
    this.status = status;
    this.pointer = pointer;
  }
}

/** Show this token with every call from now on. */
export function setToken(text) {
  token = text.trim(); // what was copied often ends in a blank; no token does
  sessionStorage.setItem(TOKEN_KEY, token);
}

/** Whether calls show a token. */
export const hasToken = () => token !== "";

function headers() {
  if (!/^[ -~]*$/.test(token)) throw new Problem(impossible); // no header can hold it
  return token ? { Authorization: `Bearer ${token}` } : {};
}

const impossible = { title: "A token is needed", detail: "A token is made of plain letters, digits and signs", status: 401 };

/** How it is told that nothing answers. */
export const unreachable = { title: "The server cannot be reached", detail: "Is it still running? Try again.", status: 0 };

/** What the server gives. A connection that breaks, now or halfway, is a Problem; one that was broken off is not. */
const reached = (giving) => giving.catch((error) => {
  throw error.name === "AbortError" ? error : new Problem(unreachable);
});

/** Learn whether the server answers this page, before much is sent to it. */
export async function checkAccess(signal) {
  await get("v1/models", signal);
}

/** Whether the server has a library to search. */
export async function hasLibrary() {
  const { has_library: isThere } = await fetch("healthz").then((response) => response.json()).catch(() => ({}));
  return isThere === true;
}

const LIBRARY = "v1/library";

/** What the library holds. */
export const readLibrary = async (signal) => json(await get(LIBRARY, signal));

/** Moments that fit; `asked` is an array of names and values. */
export const findMoments = async (asked, signal) => json(await get(`${LIBRARY}/search?${new URLSearchParams(asked)}`, signal));

/** The same as a file: `csv`, `edl` or `vtt`. */
export async function takeMoments(format, asked) {
  const response = await get(`${LIBRARY}/search.${format}?${new URLSearchParams(asked)}`);
  return reached(response.blob());
}

/** What was seen and heard in a file over time. */
export const readTimeline = async (id, signal) => json(await get(`${LIBRARY}/files/${id}/timeline`, signal));

/** An address that the server gave out, for a player or a picture. */
export const addressOf = (path) => path.slice(1); // relative, as the page may stand below another address

/** Upload a clip; returns its job. `onShare` is called with the share sent, `signal` breaks off. */
export function uploadClip(file, { onShare, signal }) {
  return new Promise((resolve, reject) => {
    const call = new XMLHttpRequest(); // which tells how much was sent; fetch does not
    call.open("POST", CLIPS);
    for (const [name, value] of Object.entries({ Prefer: "respond-async", ...headers() })) call.setRequestHeader(name, value);
    call.responseType = "json";
    call.upload.onprogress = (event) => onShare(event.loaded / event.total);
    call.onload = () => (call.status < 300 ? resolve(call.response) : reject(new Problem(call.response ?? unreachable)));
    call.onerror = () => reject(new Problem(unreachable));
    call.onabort = () => reject(new DOMException("broken off", "AbortError"));
    signal.addEventListener("abort", () => call.abort());
    const form = new FormData();
    form.append("file", file);
    call.send(form);
  });
}

/** Follow a job to its end; returns its last state. `onState` is called with each one. */
export async function followJob(id, { onState, signal }) {
  const response = await get(`${CLIPS}/${id}/events`, signal);
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let waiting = "";
  for (;;) {
    const { value, done } = await reached(reader.read());
    if (done) throw new Problem(unreachable);
    const events = (waiting + value).split("\n\n");
    waiting = events.pop();
    for (const event of events.filter((one) => one.startsWith("event:"))) {
      const job = JSON.parse(event.slice(event.indexOf("data:") + 5));
      onState(job);
      if (job.state === "failed") throw new Problem(job.problem);
      if (job.state === "done") return job;
    }
  }
}

/** A finished job's answer: the prediction, and the timeline as CSV and WebVTT. The server then forgets it. */
export async function takeAnswer(id, signal) {
  const paths = [`${CLIPS}/${id}`, `${CLIPS}/${id}/timeline.csv`, `${CLIPS}/${id}/timeline.vtt`];
  const [job, csv, vtt] = await Promise.all(paths.map((path) => get(path, signal)));
  const [{ prediction }, csvText, vttText] = await reached(Promise.all([job.json(), csv.text(), vtt.text()]));
  deleteJob(id);
  return { prediction, csv: csvText, vtt: vttText };
}

/** Stop a job and have it forgotten; it would go by itself in time, so nobody waits for it. */
export function deleteJob(id) {
  fetch(`${CLIPS}/${id}`, { method: "DELETE", headers: headers(), keepalive: true }).catch(() => {});
}

/** Open a live stream: a web socket whose first message asks for it. */
export function openStream(rate) {
  const url = new URL("v1/stream", location.href);
  url.protocol = url.protocol.replace("http", "ws");
  const socket = new WebSocket(url);
  socket.binaryType = "arraybuffer";
  const start = { type: "start", sound: { format: "pcm16", rate_hz: rate }, ...(token ? { token } : {}) };
  socket.addEventListener("open", () => socket.send(JSON.stringify(start)));
  return socket;
}

async function get(path, signal) {
  const response = await reached(fetch(path, { headers: headers(), signal }));
  if (!response.ok) throw new Problem(await response.json().catch(() => unreachable));
  return response;
}

const json = (response) => reached(response.json());
