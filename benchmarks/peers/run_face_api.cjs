// Runs @vladmandic/face-api in WebAssembly: SSD MobileNet, landmarks, expressions.
const path = require('path');
const { inOurOrder, largestOf, serve } = require('./protocol.cjs');

const NAMES = { angry: 'angry', disgust: 'disgusted', fear: 'fearful', happy: 'happy', neutral: 'neutral', sad: 'sad', surprise: 'surprised' };

function named(expressions) {
  return inOurOrder(Object.fromEntries(Object.entries(NAMES).map(([ours, theirs]) => [ours, expressions[theirs]])));
}

serve(async () => {
  const tf = require('@tensorflow/tfjs');
  const wasm = require('@tensorflow/tfjs-backend-wasm');
  wasm.setWasmPaths(`${path.dirname(require.resolve('@tensorflow/tfjs-backend-wasm/package.json'))}/dist/`);
  await tf.setBackend('wasm');
  await tf.ready();
  const home = path.dirname(require.resolve('@vladmandic/face-api/package.json'));
  const faceapi = require(path.join(home, 'dist/face-api.node-wasm.js'));
  for (const net of ['ssdMobilenetv1', 'faceLandmark68Net', 'faceExpressionNet']) {
    await faceapi.nets[net].loadFromDisk(path.join(home, 'model'));
  }

  async function look(picture, cut) {
    const pixels = tf.tensor3d(picture.data, [picture.height, picture.width, 3], 'int32');
    try {
      if (cut) return named(await faceapi.nets.faceExpressionNet.predictExpressions(pixels));
      const found = await faceapi.detectAllFaces(pixels).withFaceLandmarks().withFaceExpressions();
      const largest = largestOf(found, (face) => face.detection.box.area);
      return largest && named(largest.expressions);
    } finally {
      pixels.dispose();
    }
  }
  return { name: `face-api ${faceapi.version.faceapi ?? faceapi.version}, ${tf.getBackend()}`, look };
});
