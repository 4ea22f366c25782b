'use strict';
// Keeps the page true while somebody looks: asks for it anew, puts what is different into the one that is there, so that
// focus, scroll and unfolded parts stay, and lets ages grow in between. The page is whole without it.
(() => {
  const EVERY_MS = 5000;
  const WITHIN_MS = 4000;
  const BEING_MADE_S = 15;
  const main = document.getElementById('main');
  let aheadMs = 0; // the server's clock, less this one
  let polls, ticks, asking;

  // As in words.rs.
  const span = (s) => s < 120 ? [s, 's'] : s < 7200 ? [Math.floor(s / 60), 'min']
    : s < 172800 ? [Math.floor(s / 3600), 'h'] : [Math.floor(s / 86400), 'days'];
  const inFull = { s: 'seconds', min: 'minutes', h: 'hours', days: 'days' };
  const due = (s) => s < 0 ? `due in ${span(-s).join(' ')}` : s <= BEING_MADE_S ? 'due now' : `overdue by ${span(s).join(' ')}`;

  function say(node, text) {
    if (node.textContent !== String(text)) node.textContent = text;
  }

  function tick() {
    const now = Math.floor((Date.now() + aheadMs) / 1000);
    for (const time of main.querySelectorAll('time[data-tick]')) {
      const past = now - Date.parse(time.dateTime) / 1000;
      if (time.dataset.tick === 'due') {
        say(time, due(past));
      } else {
        const [figure, unit] = span(Math.max(0, past));
        say(time.firstElementChild, figure);
        say(time.lastElementChild, figure === 1 && unit === 's' ? 'second' : inFull[unit]);
      }
    }
    const ring = main.querySelector('[data-until]');
    if (ring) {
      const from = Number(ring.dataset.from);
      const over = 100 * (now - from) / Math.max(1, Number(ring.dataset.until) - from);
      ring.setAttribute('stroke-dasharray', `${Math.min(100, Math.max(0, over)).toFixed(1)} 200`);
    }
  }

  // Makes `old` what `fresh` is, leaving alone whatever is the same.
  function morph(old, fresh) {
    for (const { name } of [...old.attributes]) {
      if (name !== 'open' && !fresh.hasAttribute(name)) old.removeAttribute(name);
    }
    for (const { name, value } of fresh.attributes) {
      if (old.getAttribute(name) !== value) old.setAttribute(name, value);
    }
    let there = old.firstChild;
    for (const node of [...fresh.childNodes]) {
      if (there && there.nodeName === node.nodeName && there.id === node.id) {
        if (node.nodeType === Node.ELEMENT_NODE) morph(there, node);
        else if (there.nodeValue !== node.nodeValue) there.nodeValue = node.nodeValue;
        there = there.nextSibling;
      } else {
        old.insertBefore(document.importNode(node, true), there);
      }
    }
    while (there) {
      const next = there.nextSibling;
      there.remove();
      there = next;
    }
  }

  // Only the browser knows under which address it found the page.
  function tellAddress(page) {
    const base = new URL('.', location.href).href.slice(0, -1);
    for (const origin of page.querySelectorAll('[data-origin]')) say(origin, base);
  }

  function settle() {
    aheadMs = Number(main.dataset.now) - Date.now();
    tick();
  }

  function isAway() {
    if (main.dataset.tone === 'away') return;
    const last = new Date(Number(main.dataset.now)).toISOString().slice(11, 19);
    main.dataset.tone = 'away';
    say(document.getElementById('word'), 'The server does not answer');
    say(document.getElementById('reason'), `What is shown was so at ${last} UTC. Trying again.`);
    document.title = document.title.replace(/^[^·]*/, 'Away ');
  }

  async function poll() {
    clearTimeout(polls);
    if (document.hidden || asking) return;
    asking = true;
    try {
      const answer = await fetch(location.href, { cache: 'no-store', signal: AbortSignal.timeout(WITHIN_MS) });
      const fresh = new DOMParser().parseFromString(await answer.text(), 'text/html');
      const page = fresh.getElementById('main');
      if (!answer.ok || !page) throw new Error('not the page');
      if (page.dataset.build !== main.dataset.build) return location.reload();
      document.title = fresh.title;
      tellAddress(page);
      morph(main, page);
      settle();
    } catch {
      isAway();
    } finally {
      asking = false;
      clearTimeout(polls);
      if (!document.hidden) polls = setTimeout(poll, EVERY_MS);
    }
  }

  // Nobody looks: nothing is asked for.
  function look() {
    clearTimeout(polls);
    clearInterval(ticks);
    if (document.hidden) return;
    ticks = setInterval(tick, 1000);
    poll();
  }

  tellAddress(main);
  settle();
  document.getElementById('live').hidden = false;
  document.addEventListener('visibilitychange', look);
  ticks = setInterval(tick, 1000);
  polls = setTimeout(poll, EVERY_MS);
})();
