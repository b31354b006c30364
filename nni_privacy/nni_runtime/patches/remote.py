"""Trials on other machines by SSH: results that come back, machines that vanish and return, and whom to trust there."""

from __future__ import annotations

from nni_privacy.nni_runtime.patches.apply import Edit, Patch

__all__ = ["REMOTE_PATCHES"]

_WORKER = "training_service/remote_v3/worker.js"
_REMOTE = "training_service/remote_v3/remote.js"
_SSH = "training_service/remote_v3/ssh.js"
_COMPAT = "training_service/v3/compat.js"
_RPC = "common/command_channel/rpc_util.js"

_REMOTE_START = Patch(
    name="remote_start",
    why="each machine runs `pip install nni --upgrade` from a public index, and a trial keeper open to its network",
    edits=(
        Edit(
            file=_WORKER,
            anchor="""        this.log.info('Installing nni and dependencies...');
        await this.ssh.run(`${this.python} -m pip install nni --upgrade`);
""",
            replacement="",
        ),
        # The trial keeper of the machine's own repaired copy.
        Edit(
            file=_WORKER,
            anchor="-m nni.tools.nni_manager_scripts.launch_trial_keeper",
            replacement="-m nni_privacy.nni_runtime.trial_keeper",
        ),
    ),
)

_REMOTE_CODE = Patch(
    name="remote_code",
    why="a search on other machines that starts in an empty folder ends with the manager's death",
    edits=(
        Edit(
            file="common/tarball.js",
            anchor="await tar_1.default.create(opts, fileList);",
            replacement="await tar_1.default.create(opts, fileList.length > 0 ? fileList : ['.']);",
        ),
    ),
)

_REMOTE_SCORES = Patch(
    name="remote_scores",
    why="of a trial on another machine only its logs come back, not the scores that it wrote",
    edits=(
        Edit(
            file=_WORKER,
            anchor="['trial.log', 'trial.stdout', 'trial.stderr']",
            replacement="['trial.log', 'trial.stdout', 'trial.stderr', 'scores.npz', 'exit.json']",
        ),
    ),
)

# As `ssh -o StrictHostKeyChecking=accept-new`: a machine that known_hosts names must show the key noted there, and one
# that it does not name must show the same key for the whole run. `ssh-keygen -F` reads hashed names, too.
_KNOWN_HOSTS = """const seenKeys = new Map();
function knownKeys(host, port) {
    const file = node_path_1.join(node_os_1.homedir(), '.ssh', 'known_hosts');
    const name = port === 22 ? host : `[${host}]:${port}`;
    return new Promise(resolve => {
        node_child_process_1.execFile('ssh-keygen', ['-F', name, '-f', file], (_error, stdout) => {
            const lines = (stdout ?? '').split('\\n').filter(line => line.trim() && !line.startsWith('#'));
            resolve(lines.filter(line => !line.startsWith('@')).map(line => line.trim().split(/\\s+/)[2]));
        });
    });
}
async function isTrusted(host, port, key, log) {
    const shown = key.toString('base64');
    const name = `${host}:${port}`;
    const known = await knownKeys(host, port);
    const allowed = known.length > 0 ? known : [seenKeys.get(name) ?? shown];
    if (!allowed.includes(shown)) {
        log.error(`${name} shows another key than the one that is known; refused: someone may be in between.`);
        return false;
    }
    if (known.length === 0 && !seenKeys.has(name)) {
        log.warning(`${name} is not in known_hosts; its key is trusted for this run.`);
    }
    seenKeys.set(name, shown);
    return true;
}
class Ssh {
"""

_REMOTE_HOST_KEY = Patch(
    name="remote_host_key",
    why="the key of an SSH server is not looked at: anyone in between may pose as the machine",
    edits=(
        Edit(
            file=_SSH,
            anchor='const ssh2_1 = require("ssh2");\n',
            replacement="""const node_child_process_1 = require("node:child_process");
const node_os_1 = require("node:os");
const node_path_1 = require("node:path");
const ssh2_1 = require("ssh2");
""",
        ),
        Edit(file=_SSH, anchor="class Ssh {\n", replacement=_KNOWN_HOSTS),
        Edit(
            file=_SSH,
            anchor="            password: this.config.password,\n",
            replacement="""            password: this.config.password,
            hostVerifier: (key, verify) => {
                isTrusted(this.config.host, this.config.port, key, this.log).then(verify, () => { verify(false); });
            },
""",
        ),
    ),
)

_REMOTE_RECOVERY = Patch(
    name="remote_recovery",
    why="a machine that vanishes takes the run along: its SSH connection ends the manager, its answers are waited for",
    edits=(
        # A connection that breaks is noticed, is no reason to die, and is made again when it is needed.
        Edit(
            file=_SSH,
            anchor="""        this.client = new ssh2_1.Client();
        this.client.connect(sshConfig);
        await node_events_1.default.once(this.client, 'ready');
""",
            replacement="""        const client = new ssh2_1.Client();
        const lost = () => {
            if (this.client === client) {
                this.client = null;
                this.sftpSession = null;
            }
        };
        client.on('error', error => {
            this.log.warning('SSH connection:', error.message);
            lost();
        });
        client.on('close', lost);
        client.connect({ ...sshConfig, keepaliveInterval: 15000, keepaliveCountMax: 4 });
        await node_events_1.default.once(client, 'ready');
        this.client = client;
""",
        ),
        Edit(
            file=_SSH,
            anchor="    disconnect() {\n",
            replacement="""    async ensure() {
        for (let tries = 0; this.client === null; tries += 1) {
            try {
                this.connecting ??= this.connect().finally(() => { this.connecting = null; });
                await this.connecting;
            }
            catch (error) {
                if (tries >= 4) {
                    throw error;
                }
                await new Promise(resolve => { setTimeout(resolve, 1000 * 2 ** tries); });
            }
        }
    }
    disconnect() {
""",
        ),
        Edit(
            file=_SSH,
            anchor="        this.log.debug('Execute command:', command);\n",
            replacement="        this.log.debug('Execute command:', command);\n        await this.ensure();\n",
        ),
        Edit(
            file=_SSH,
            anchor="    async sftp() {\n",
            replacement="    async sftp() {\n        await this.ensure();\n",
        ),
        # A call to a machine that is gone fails, instead of waiting for its answer.
        Edit(
            file=_RPC,
            anchor="        this.channel.onCommand('rpc_constructor', command => {\n",
            replacement="""        const lost = reason => {
            this.lost = `connection lost: ${reason}`;
            this.responses.forEach(response => {
                if (!response.settled) {
                    response.resolve({ error: this.lost });
                }
            });
        };
        this.channel.onError(lost);
        this.channel.onClose(lost);
        this.channel.onCommand('rpc_constructor', command => {
""",
        ),
        Edit(
            file=_RPC,
            anchor="        const deferred = this.responses.get(id);\n",
            replacement="""        if (this.lost) {
            throw new Error(this.lost);
        }
        const deferred = this.responses.get(id);
""",
        ),
        # A machine is tried again until it is back or the run is over, at the start too if another one is there.
        Edit(
            file=_REMOTE,
            anchor="        await Promise.all(this.config.machineList.map("
            "workerConfig => this.launchWorker(workerConfig)));\n",
            replacement="""        const machines = this.config.machineList;
        const launched = await Promise.allSettled(machines.map(machine => this.launchWorker(machine)));
        launched.forEach((result, i) => {
            if (result.status === 'rejected') {
                this.log.error(`Machine ${machines[i].host} failed:`, result.reason);
                this.relaunch(machines[i]);
            }
        });
        if (this.workers.length === 0) {
            this.stopped = true;
            throw launched[0].reason;
        }
""",
        ),
        Edit(
            file=_REMOTE,
            anchor="        return this.workers.map(worker => worker.env);\n",
            replacement="        return this.workers.filter(worker => worker.ready).map(worker => worker.env);\n",
        ),
        Edit(
            file=_REMOTE,
            anchor="        const workers = Array.from(this.workers);\n",
            replacement="        const workers = this.workers.filter(worker => worker.ready);\n",
        ),
        Edit(
            file=_WORKER,
            anchor="        this.trialKeeper.setChannel(channel);\n",
            replacement="""        this.trialKeeper.setChannel(channel).catch(error => {
            this.log.error('Trial keeper does not answer:', error);
        });
""",
        ),
        Edit(
            file=_REMOTE,
            anchor="    async stop() {\n",
            replacement="    async stop() {\n        this.stopped = true;\n",
        ),
        Edit(
            file=_REMOTE,
            anchor="        await worker.start();\n        return worker;\n",
            replacement="""        try {
            await worker.start();
        }
        catch (error) {
            this.stopWorker(worker, false);
            worker.ssh.disconnect();
            throw error;
        }
        worker.ready = true;
        return worker;
""",
        ),
        Edit(
            file=_REMOTE,
            anchor="this.emitter.emit('env_update', this.workers.map(worker => worker.env));",
            replacement="""const ready = this.workers.filter(worker => worker.ready);
        this.emitter.emit('env_update', ready.map(worker => worker.env));""",
        ),
        Edit(
            file=_REMOTE,
            anchor="""        this.stopWorker(oldWorker, true);
        try {
            const worker = await this.launchWorker(oldWorker.config);
            for (const dirName of this.uploadedDirs) {
                const tar = (0, tarball_1.getTarballPath)(dirName);
                await worker.upload(dirName, tar);
            }
        }
        catch (error) {
            this.log.error(`Failed to recover worker ${oldWorker.config.host}:`, error);
            return;
        }
        this.emitEnvUpdate();
        this.log.info(`Worker ${oldWorker.config.host} has been recovered`);
""",
            replacement="""        if (!oldWorker.ready) {
            // Whoever launches it tries again.
            oldWorker.trialKeeper.initialized.promise.catch(() => {});
            oldWorker.trialKeeper.initialized.reject(new Error('connection lost'));
            return;
        }
        this.stopWorker(oldWorker, true);
        oldWorker.ssh.disconnect();
        await this.relaunch(oldWorker.config);
    }
    async relaunch(config) {
        for (let wait = 1; !this.stopped; wait = Math.min(2 * wait, 60)) {
            await new Promise(resolve => { setTimeout(resolve, 1000 * wait).unref(); });
            let worker = null;
            try {
                worker = await this.launchWorker(config);
                worker.ready = false;
                for (const dirName of this.uploadedDirs) {
                    const tar = (0, tarball_1.getTarballPath)(dirName);
                    await worker.upload(dirName, tar);
                }
                worker.ready = true;
                this.emitEnvUpdate();
                this.log.info(`Worker ${config.host} has been recovered`);
                return;
            }
            catch (error) {
                this.log.error(`Failed to recover worker ${config.host}:`, error);
                if (worker !== null) {
                    this.stopWorker(worker, false);
                    worker.ssh.disconnect();
                }
            }
        }
""",
        ),
        # Trials that ended before their machine was lost keep their result.
        Edit(
            file=_COMPAT,
            anchor="""            const trial = this.trialJobs[trialId];
            if (exitCode === 0) {
""",
            replacement="""            const trial = this.trialJobs[trialId];
            if (trial === undefined || trial.endTime !== undefined) {
                return;
            }
            if (exitCode === 0) {
""",
        ),
        Edit(
            file=_COMPAT,
            anchor="                logger.error('Exception when create trial', form, ':', error);\n",
            replacement="""                logger.error('Exception when create trial', form, ':', error);
                await (0, promises_2.setTimeout)(1000);
""",
        ),
        Edit(
            file=_COMPAT,
            anchor="'environments', env.id, 'trials', trialId);",
            replacement="'environments', envId, 'trials', trialId);",
        ),
    ),
)

REMOTE_PATCHES = (_REMOTE_START, _REMOTE_CODE, _REMOTE_SCORES, _REMOTE_HOST_KEY, _REMOTE_RECOVERY)
