// Reference outputs of the packaged nets, from TensorFlow.js itself (CPU backend).
//
//   node make_tfjs_reference.mjs <folder with face-api/ and human/> <inputs.json> <outputs.json>
//
// Needs @tensorflow/tfjs and @tensorflow/tfjs-backend-wasm 4.22.0 in the working folder: the Python
// script of the same name installs them in a scratch folder and calls this one from there.
// inputs.json: {net: {"shape": [N, side, side, 3], "values": base64 of uint8}}.
// outputs.json: {net: {output: {"shape": [...], "values": base64 of little-endian float32}}}.

import fs from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';

const [assets, inputsPath, outputsPath] = process.argv.slice(2).map((p) => path.resolve(p));
const require = createRequire(path.join(process.cwd(), 'package.json'));
const tf = require('@tensorflow/tfjs');
await tf.setBackend('cpu');
await tf.ready();
// face-api's own nets, in the build that takes tfjs from outside
const faceapi = require(path.join(assets, 'face-api', 'dist', 'face-api.node-wasm.js'));

const inputs = JSON.parse(fs.readFileSync(inputsPath, 'utf8'));
const outputs = {};

function input(net) {
  const { shape, values } = inputs[net];
  return tf.tensor4d(Float32Array.from(Buffer.from(values, 'base64')), shape);
}

function record(net, output, tensor) {
  const bytes = Buffer.from(Float32Array.from(tensor.dataSync()).buffer);
  outputs[net] ??= {};
  outputs[net][output] = { shape: tensor.shape, values: bytes.toString('base64') };
}

async function graphModel(name) {
  const folder = path.join(assets, 'human', 'models');
  const model = JSON.parse(fs.readFileSync(path.join(folder, `${name}.json`), 'utf8'));
  const data = fs.readFileSync(path.join(folder, `${name}.bin`));
  return tf.loadGraphModel(tf.io.fromMemory({
    modelTopology: model.modelTopology,
    weightSpecs: model.weightsManifest.flatMap((group) => group.weights),
    weightData: data.buffer.slice(data.byteOffset, data.byteOffset + data.byteLength),
  }));
}

const facemesh = await graphModel('facemesh');
const faceflag = 'StatefulPartitionedCall/model_1/conv2d_31/BiasAdd';
const [mesh, flag] = facemesh.execute(input('facemesh').div(255), ['Identity_2', faceflag]);
record('facemesh', 'mesh', mesh);
record('facemesh', 'flag', flag.reshape([-1]));

const faceres = await graphModel('faceres');
const names = ['global_pooling/Mean', 'gender_pred/BiasAdd', 'age_pred/Softmax'];
const [embedding, gender, age] = faceres.execute(input('faceres'), names);
record('faceres', 'embedding', embedding);
record('faceres', 'gender', gender.reshape([-1]));
record('faceres', 'age', age);

const nets = {
  face_landmark_68: faceapi.nets.faceLandmark68Net,
  face_expression: faceapi.nets.faceExpressionNet,
  face_recognition: faceapi.nets.faceRecognitionNet,
};
for (const [name, net] of Object.entries(nets)) {
  await net.loadFromDisk(path.join(assets, 'face-api', 'model'));
  const batch = await faceapi.toNetInput(tf.unstack(input(name)));
  const out = name === 'face_recognition' ? net.forwardInput(batch) : net.runNet(batch);
  record(name, 'output', out);
}

fs.writeFileSync(outputsPath, JSON.stringify(outputs));
