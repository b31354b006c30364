// Functions that the repairs of NNI's web UI call. Its bundle is minified: what is longer than a word stands here.
self.nniPrivacy = (() => {
    const SEARCHED_AXES = 6;
    const BETTER_LOW =
        /(^|_)mia_|tpr|^overfitting|^epsilon|^parameters$|^multiply_adds$|latency|^violation|^seconds|(^|_)loss$/;
    // Of an audit: ends of intervals, further attacks and the like. A predicted AUC is the only one that there is.
    const SECONDARY =
        /(_low|_high|_fpr|_balanced_accuracy|.(?<!predicted)_mia_auc|_mia_auc_sd|^(balanced_)?accuracy|^seconds)$/;

    // A duration of less than a second, as the page writes others.
    const NO_TIME = '<b>0</b><span>s</span>';

    // --- numbers ---

    // Four digits of a number, integers as they are; anything else as React can show it.
    function digits(value) {
        if (typeof value === 'object' && value !== null) {
            return JSON.stringify(value);
        }
        if (typeof value !== 'number' || !Number.isFinite(value) || Number.isInteger(value)) {
            return typeof value === 'number' ? String(value) : value;
        }
        return String(Math.abs(value) >= 1000 ? Math.round(value) : Number(value.toPrecision(4)));
    }

    // The whole number as a title, where it was shortened.
    function full(value) {
        return typeof value === 'number' && digits(value) !== String(value) ? String(value) : undefined;
    }

    function number(element, value, className) {
        return element('div', { className, title: full(value) }, digits(value) ?? '--');
    }

    // A cell of the table that compares trials.
    function compared(element, key, className, value) {
        const title = full(value) ?? (typeof value === 'string' ? value : undefined);
        return element('td', { key, className, title }, digits(value) ?? '--');
    }

    // A text as part of HTML: the tooltips of the charts are made of what trials report.
    function html(value) {
        const names = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;', "'": '&#39;' };
        return String(value).replace(/[&<>"']/g, (found) => names[found]);
    }

    function numberHtml(value) {
        return `<b title="${html(full(value) ?? '')}">${html(digits(value))}</b>`;
    }

    // --- metrics ---

    // The number that a trial reported at its end; undefined if there is none.
    function metric(trial, key) {
        const found = key === 'default' ? trial.accuracy : trial.acc?.[key];
        return typeof found === 'number' && Number.isFinite(found) ? found : undefined;
    }

    function has(trials, key) {
        return trials.some((trial) => metric(trial, key) !== undefined);
    }

    // Names of the metrics that are numbers, 'default' first.
    function numericKeys(trials) {
        const names = new Set(['default']);
        for (const trial of trials) {
            for (const [name, value] of Object.entries(trial.acc ?? {})) {
                if (typeof value === 'number') {
                    names.add(name);
                }
            }
        }
        return [...names];
    }

    // Where the optimization of a metric starts; of the default metric it is the experiment's own.
    function mode(key, ofExperiment) {
        const low = key === 'default' ? ofExperiment === 'minimize' : BETTER_LOW.test(key);
        return low ? 'Minimize' : 'Maximize';
    }

    function isAxis(name, axes) {
        return axes.get(name).scale === 'linear' && !(axes.has('mia_auc_low') && SECONDARY.test(name));
    }

    // React's hook: the mode that all pages share is the experiment's own again when a page is left.
    function useOwnMode(react, key, changeMode, ofExperiment) {
        const shown = react.useRef(key);
        shown.current = key;
        react.useEffect(
            () => () => {
                if (shown.current !== 'default') {
                    changeMode(mode('default', ofExperiment));
                }
            },
            [],
        );
    }

    // --- trials ---

    // The best of the trials by a metric, the best first.
    function top(trials, key, towards, count) {
        const sign = towards === 'Minimize' ? 1 : -1;
        return trials
            .filter((trial) => metric(trial, key) !== undefined)
            .sort((one, other) => sign * (metric(one, key) - metric(other, key)))
            .slice(0, count);
    }

    function rows(manager, ids) {
        return manager.table(ids).map((row) => {
            const trial = manager.getTrial(row.id);
            return { ...row, accuracy: trial.accuracy, mia_auc: metric(trial, 'mia_auc') };
        });
    }

    // Rows by a column, those without a value last in either direction.
    function sorted(items, key, descending) {
        const missing = (value) =>
            value === undefined || value === null || typeof value === 'object' || Number.isNaN(value) ||
            Math.abs(value) === Infinity;
        return items.slice().sort((one, other) => {
            let [a, b] = [one[key], other[key]];
            if (missing(a) || missing(b)) {
                return Number(missing(a)) - Number(missing(b));
            }
            if (typeof a !== typeof b) {
                [a, b] = [String(a), String(b)];
            }
            return a === b ? 0 : a < b === Boolean(descending) ? 1 : -1;
        });
    }

    // What the page knows of a trial's parameters; one that has none yet has no value on any axis.
    function parametersOf(trial, space) {
        try {
            return trial.parameters(space);
        } catch (unexpected) {
            if (!(unexpected instanceof Map)) {
                throw unexpected;
            }
            return new Map();
        }
    }

    // Parameters as they are shown: what was searched, and what was fixed before.
    function shownParameters(told) {
        const parameters = typeof told === 'string' ? JSON.parse(told) : told;
        const searched = parameters.mutation_summary ?? parameters;
        const fixed = parameters.fixed_choices ?? {};
        return Object.keys(fixed).length > 0 ? { ...searched, fixed } : searched;
    }

    // The cards of the overview beside the status.
    function cards(element, trials, { ofExperiment, style, status }) {
        const best = has(trials, 'accuracy')
            ? [['Best accuracy', 'accuracy', 'Maximize']]
            : [['Best metric', 'default', mode('default', ofExperiment)]];
        const lowest = has(trials, 'mia_auc') ? [['Lowest AUC', 'mia_auc', 'Minimize']] : [];
        return [...best, ...lowest].map(([title, key, towards]) => {
            const [found] = top(trials, key, towards, 1);
            const text = found === undefined ? 'N/A' : digits(metric(found, key));
            const whole = found === undefined ? undefined : full(metric(found, key));
            const trial = found === undefined ? [] : [element('div', { key: 'trial', className: 'description card-trial' },
                `trial ${found.sequenceId}`)];
            return element('div', { key, style, className: `privacy-card-${key}` },
                element('div', { className: 'bestMetric' },
                    element('div', { className: `${status} focus-text`, title: whole }, text),
                    element('div', { className: 'description' }, title), ...trial));
        });
    }

    // --- the hyper-parameter chart ---

    function ranks(values) {
        const order = values.map((value, place) => [value, place]).sort(([one], [other]) => one - other);
        const found = new Array(values.length);
        for (let start = 0, end; start < order.length; start = end) {
            end = start;
            while (end < order.length && order[end][0] === order[start][0]) {
                end += 1;
            }
            for (let at = start; at < end; at += 1) {
                found[order[at][1]] = (start + end - 1) / 2;
            }
        }
        return found;
    }

    const mean = (values) => values.reduce((sum, value) => sum + value, 0) / values.length;
    const spread = (values) => {
        const centre = mean(values);
        return values.reduce((sum, value) => sum + (value - centre) ** 2, 0);
    };

    // Eta squared: the share of the outcomes' variance that lies between the groups.
    function shareBetween(values, outcomes) {
        const groups = new Map();
        values.forEach((value, place) => groups.set(value, [...(groups.get(value) ?? []), outcomes[place]]));
        const within = [...groups.values()].reduce((sum, group) => sum + spread(group), 0);
        return [1 - within / spread(outcomes), groups.size];
    }

    // The square of Spearman's rank correlation.
    function shareOfRanks(values, outcomes) {
        const [x, y] = [ranks(values), ranks(outcomes)];
        const [mx, my] = [mean(x), mean(y)];
        const common = x.reduce((sum, value, place) => sum + (value - mx) * (y[place] - my), 0);
        return [common ** 2 / (spread(x) * spread(y)), 2];
    }

    // How much a metric varies with a parameter, 0 to 1. Of few trials many groups explain much by chance: the share is
    // corrected for their number, as R squared is.
    function strength(values, outcomes, isCategorical) {
        const told = values.map((value, place) => place).filter((place) => values[place] !== null &&
            values[place] !== undefined);
        const [x, y] = [told.map((place) => values[place]), told.map((place) => outcomes[place])];
        if (new Set(x).size < 2 || new Set(y).size < 2) {
            return 0;
        }
        const [share, groups] = isCategorical ? shareBetween(x, y) : shareOfRanks(x, y);
        return x.length > groups ? Math.max(0, 1 - ((1 - share) * (x.length - 1)) / (x.length - groups)) : 0;
    }

    // The axes that the chart starts with: the searched ones that the metric varies most with, then the metrics.
    function startingAxes(space, metrics, trials, key) {
        const measured = trials.filter((trial) => metric(trial, key) !== undefined);
        const outcomes = measured.map((trial) => metric(trial, key));
        const parameters = measured.map((trial) => parametersOf(trial, space));
        let searched = [...space.axes.keys()];
        if (searched.length > SEARCHED_AXES) {
            const strengths = new Map([...space.axes].map(([name, axis]) => {
                const values = parameters.map((found) => found.get(axis));
                return [name, strength(values, outcomes, axis.scale === 'ordinal')];
            }));
            searched = searched.sort((one, other) => strengths.get(other) - strengths.get(one)).slice(0, SEARCHED_AXES);
        }
        return [...searched, ...[...metrics.axes.keys()].filter((name) => isAxis(name, metrics.axes))];
    }

    const AXIS_ROOM = 90;
    // Room for the labels left of the first axis and in two rows above all of them.
    const MARGIN = { top: 58, right: 52, bottom: 20, left: 92 };

    function chartWidth(axes) {
        return Math.max(0, axes - 1) * AXIS_ROOM + MARGIN.left + MARGIN.right;
    }

    function compact(text) {
        const plain = text.replace(/,/g, '').replace('−', '-');
        return text !== '' && Number.isFinite(Number(plain))
            ? new Intl.NumberFormat('en', { notation: 'compact', maximumSignificantDigits: 4 }).format(Number(plain))
            : text;
    }

    // Shortens a label to the room that it has; the whole of it is its title.
    function fit(label, room) {
        const whole = label.dataset.whole ?? label.textContent;
        label.dataset.whole = whole;
        label.textContent = whole;
        if (label.getComputedTextLength() > room) {
            label.textContent = compact(whole);
        }
        // From the middle: 'dil_conv_3x3' and 'dil_conv_5x5', 'normal_3_op1' and 'normal_3_op2' differ at their ends.
        const text = label.textContent;
        for (let kept = text.length - 1; kept > 0 && label.getComputedTextLength() > room; kept -= 1) {
            label.textContent = `${text.slice(0, Math.ceil(kept / 2))}…${text.slice(text.length - Math.floor(kept / 2))}`;
        }
        if (label.textContent !== whole) {
            const title = document.createElementNS('http://www.w3.org/2000/svg', 'title');
            title.textContent = whole;
            label.append(title);
        }
    }

    function tidyAxis(axis, room) {
        let last = -Infinity;
        for (const tick of [...axis.querySelectorAll('.tick')].sort((one, other) => one.getCTM().f - other.getCTM().f)) {
            const text = tick.querySelector('text');
            const hidden = tick.getCTM().f - last < 13;
            text.style.display = hidden ? 'none' : '';
            if (!hidden) {
                last = tick.getCTM().f;
                fit(text, room);
            }
        }
    }

    // Labels that do not overlap: shortened, and those of the axes in two rows where one has no room for them.
    function tidyChart(chart) {
        const axes = [...chart.querySelectorAll('.dimension')].sort((one, other) => one.getCTM().e - other.getCTM().e);
        const places = axes.map((axis) => axis.getCTM().e);
        const width = chart.querySelector('svg')?.clientWidth ?? 0;
        const gap = Math.min(Infinity, ...places.slice(1).map((place, before) => place - places[before]));
        const labels = axes.map((axis) => axis.querySelector('.label'));
        for (const label of labels) {
            label.textContent = label.dataset.whole ?? label.textContent;
        }
        const twoRows = labels.some((label) => label.getComputedTextLength() > gap - 8);
        axes.forEach((axis, place) => {
            tidyAxis(axis, (place === 0 ? places[0] : places[place] - places[place - 1]) - 18);
            const edges = 2 * Math.min(places[place], width - places[place]);
            fit(labels[place], Math.min((twoRows ? 2 : 1) * gap - 8, edges));
            labels[place].setAttribute('y', twoRows && place % 2 ? -25 : -9);
        });
    }

    // --- links ---

    // The condition of the table of trials that an address sets: ?trial=ID, as the Privacy page links to a row.
    function linkedTrial() {
        const trial = new URLSearchParams(self.location.search).get('trial') ?? '';
        return /^\w+$/.test(trial) ? [{ name: 'Trial id', value1: trial, isChoice: false }] : [];
    }

    // --- logs ---

    // The content of a log; null where there is none: the manager answers such an address with its page.
    function log(response) {
        return String(response.headers['content-type']).includes('text/html') ? null : response.data;
    }

    return {
        MARGIN, NO_TIME, cards, chartWidth, compared, digits, full, has, html, isAxis, linkedTrial, log, metric, mode, number, numberHtml, numericKeys,
        parametersOf, rows, shownParameters, sorted, startingAxes, strength, tidyChart, top, useOwnMode,
    };
})();
