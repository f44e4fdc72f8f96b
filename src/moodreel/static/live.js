// Live mode: camera and microphone go to the server bit by bit, what the last two seconds show comes back.

import { openStream, Problem, unreachable } from "./api.js";
import { showBars } from "./bars.js";
import { drawBoxes, makeLayer } from "./boxes.js";
import { make } from "./dom.js";
import { likeliest } from "./emotions.js";
import { headline, notes } from "./words.js";

const RATE_HZ = 16000;
const PICTURE_EVERY_MS = 200;
const PICTURE_WIDTH = 640;
const MOST_WAITING = 500_000; // bytes: above, the network is behind, and pictures are left out
const [SOUND, PICTURE] = [0, 1];

/**
 * Shows what a camera and a microphone see and hear. `parts` are the elements to show it in; `onBegin` gets the model that
 * answers, `onWindow` each window, `onEnd` why it ended.
 */
export class Live {
  constructor(parts, { onBegin, onWindow, onEnd }) {
    Object.assign(this, parts, { onBegin, onWindow, onEnd });
    this.isOver = false;
  }

  /** Ask for camera and microphone and begin. */
  async start() {
    try {
      this.media = await askForMedia();
      if (this.isOver) return this.close();
      this.showCamera();
      this.sound = await this.openSound();
      if (this.isOver) return this.close();
      this.socket = openStream(RATE_HZ);
      this.socket.addEventListener("message", ({ data }) => this.hear(JSON.parse(data)));
      this.socket.addEventListener("close", ({ wasClean }) => this.stop(new Problem(wasClean ? lost : unreachable)));
    } catch (error) {
      this.stop(error instanceof Problem ? error : new Problem({ ...refused, detail: `${refused.detail} (${error.message})` }));
    }
    return undefined;
  }

  /** End it, by the person's wish or because of a problem. */
  stop(problem) {
    if (this.isOver) return;
    this.isOver = true;
    this.close();
    this.onEnd(problem);
  }

  /** Let the server forget who was there. */
  reset() {
    if (this.socket?.readyState === WebSocket.OPEN && this.timer) this.socket.send(JSON.stringify({ type: "reset" }));
  }

  close() {
    clearInterval(this.timer);
    this.socket?.close();
    this.sound?.close();
    this.media?.getTracks().forEach((track) => track.stop());
    this.player.replaceChildren();
  }

  showCamera() {
    if (!this.media.getVideoTracks().length) return;
    this.video = make("video", { srcObject: this.media, muted: true, autoplay: true, playsInline: true });
    this.canvas = make("canvas");
    this.player.replaceChildren(this.video);
  }

  async openSound() {
    const sound = new AudioContext({ sampleRate: RATE_HZ });
    if (!this.media.getAudioTracks().length) return sound;
    await sound.audioWorklet.addModule("microphone.js");
    const microphone = new AudioWorkletNode(sound, "microphone");
    microphone.port.onmessage = ({ data }) => this.send(SOUND, data);
    sound.createMediaStreamSource(this.media).connect(microphone);
    return sound;
  }

  hear(message) {
    if (message.type === "ready") {
      this.timer = setInterval(() => this.sendPicture(), PICTURE_EVERY_MS);
      this.text.textContent = "Listening and watching";
      this.onBegin(message.model);
    } else if (message.type === "window") {
      this.show(message);
      this.onWindow(message);
    } else {
      this.stop(new Problem(message.problem));
    }
  }

  show(window) {
    this.text.textContent = `${headline(window)} · ${window.latency_ms} ms behind`;
    showBars(this.bars, window);
    const said = notes({ ...window, segments: [], warnings: [] });
    this.notes.replaceChildren(...said.map(({ text }) => make("li", { textContent: text })));
    if (!this.layer) return;
    const label = faceLabel(window.modalities.face) ?? window.label; // the face alone, as in clips
    drawBoxes(this.layer, window.box_px ? [{ box: window.box_px, label, name: label }] : []);
  }

  sendPicture() {
    const { video, canvas } = this;
    if (!video?.videoWidth || this.socket.bufferedAmount > MOST_WAITING) return;
    const scale = Math.min(1, PICTURE_WIDTH / video.videoWidth);
    canvas.width = Math.round(video.videoWidth * scale);
    canvas.height = Math.round(video.videoHeight * scale);
    if (!this.layer) this.player.append(this.layer = makeLayer(canvas.width, canvas.height));
    canvas.getContext("2d").drawImage(video, 0, 0, canvas.width, canvas.height);
    canvas.toBlob((blob) => blob && this.send(PICTURE, blob), "image/jpeg", 0.85);
  }

  send(kind, data) {
    if (this.socket?.readyState !== WebSocket.OPEN || !this.timer) return;
    this.socket.send(new Blob([new Uint8Array([kind]), data]));
  }
}

const faceLabel = ({ probabilities }) => probabilities && likeliest(probabilities);
const refused = { title: "No camera and no microphone", detail: "Allow this page to use them, or plug one in", status: 0 };
const lost = { title: "The live stream ended", detail: "The server closed it. Start it again.", status: 0 };

/** Both if there are both, else the one that there is. */
async function askForMedia() {
  const video = { width: { ideal: 640 }, height: { ideal: 480 } };
  const audio = { echoCancellation: false, noiseSuppression: false, autoGainControl: false };
  if (!navigator.mediaDevices) throw new Error("the browser allows it on localhost and over HTTPS only");
  for (const wish of [{ video, audio }, { video }]) {
    try {
      return await navigator.mediaDevices.getUserMedia(wish);
    } catch (error) {
      if (error.name === "NotAllowedError") throw error;
    }
  }
  return navigator.mediaDevices.getUserMedia({ audio });
}
