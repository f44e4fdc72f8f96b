// Runs beside the page's own thread: gathers the microphone's samples and hands them over as 16-bit PCM.

const BLOCK = 1600; // a tenth of a second at 16 kHz

class Microphone extends AudioWorkletProcessor {
  constructor() {
    super();
    this.block = new Int16Array(BLOCK);
    this.filled = 0;
  }

  process([[samples]]) {
    for (const sample of samples ?? []) {
      this.block[this.filled++] = Math.max(-1, Math.min(1, sample)) * 32767;
      if (this.filled === BLOCK) {
        this.port.postMessage(this.block.slice().buffer);
        this.filled = 0;
      }
    }
    return true;
  }
}

registerProcessor("microphone", Microphone);
