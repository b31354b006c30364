// Drives the repaired training_service/v3/compat.js with a training service that only takes notes.
// Run by test_manager.py: node pairing_check.js <folder of the repaired nni_node>
const assert = require('assert/strict');
const path = require('path');
const folder = process.argv[2];
require(path.join(folder, 'node_modules/app-module-path')).addPath(folder);
// No waiting: what the manager sleeps through passes at once.
require('timers/promises').setTimeout = async () => {};
// The globals of a manager, as little of them as is asked for; first, because the other modules load in circles.
const { globals } = require(path.join(folder, 'common/globals'));
const logStream = { writeLine() {}, writeLineSync() {} };
Object.assign(globals, { args: { logLevel: 'info' }, paths: { experimentRoot: '/nowhere' }, logStream });
const { V3asV1 } = require(path.join(folder, 'training_service/v3/compat.js'));

async function main() {
    const sent = [];
    const stopped = [];
    const on = {};
    let created = 0;
    const service = new V3asV1({ platform: 'local', trialCommand: 'true', trialCodeDirectory: '.' });
    service.v3 = {
        init: async () => {},
        start: async () => [{ id: 'env' }],
        uploadDirectory: async () => {},
        createTrial: async (_env, _command, _code, _sequence, id) => id ?? `trial${created++}`,
        sendParameter: async (trial, parameter) => { sent.push([trial, parameter]); },
        stopTrial: async (trial) => { stopped.push(trial); },
    };
    for (const name of ['RequestParameter', 'Metric', 'TrialStart', 'TrialEnd', 'EnvironmentUpdate']) {
        service.v3['on' + name] = (callback) => { on[name] = callback; };
    }
    await service.start();
    const submit = (value, more) => service.submitTrialJob({ sequenceId: 0, hyperParameters: { value, index: 0 }, ...more });

    await submit('first');
    await submit('second');
    await on.RequestParameter('trial1');
    await on.RequestParameter('trial0');
    await on.RequestParameter('trial0');
    assert.deepEqual(sent, [['trial1', 'second'], ['trial0', 'first'], ['trial0', 'first']]);

    // A resumed trial keeps its id and gets its own parameters.
    await submit('third', { id: 'resumed', envId: 'env' });
    await on.RequestParameter('resumed');
    assert.deepEqual(sent.at(-1), ['resumed', 'third']);

    // Nothing was proposed for this one: it is stopped and counts as failed, and gets nobody's parameters.
    await submit('fourth');
    await on.TrialStart('stranger', 0);
    await on.RequestParameter('stranger');
    assert.equal(sent.length, 4);
    assert.deepEqual(stopped, ['stranger']);
    await on.TrialEnd('stranger', 1, null);
    assert.equal(service.trialJobs['stranger'].status, 'FAILED');

    await on.TrialEnd('trial0', 1, 0);
    assert.equal(service.trialJobs['trial0'].status, 'SUCCEEDED');
    assert.equal(service.allocatedParameters.has('trial0'), false);
    console.log('ok');
}

main().catch((error) => { console.error(error); process.exit(1); });
