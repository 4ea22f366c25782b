// Looks at the status page with a real browser, for tests/stories/page.rs, which says on standard input what to do, one
// command a line, and reads what was seen on standard output, a line of JSON each.
//
//     node page.mjs <directory of the npm packages> <chromium> <address of the page> <directory for screenshots>
import { mkdirSync } from 'node:fs';
import { createRequire } from 'node:module';
import { createInterface } from 'node:readline';

const [packages, executablePath, url, shots] = process.argv.slice(2);
const require = createRequire(`${packages}/`);
const { chromium } = require('playwright-core');
const axe = require('axe-core');

const WIDTHS = [320, 390, 1280];
const PATIENCE_MS = 30_000;

// Every launch has a new profile, which is removed at the end.
const browser = await chromium.launch({
  executablePath,
  args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
    '--disable-component-update', '--disable-sync'],
});
mkdirSync(shots, { recursive: true });

// What nobody should see: errors, warnings, violations of the policy, and requests to others. Told with each answer.
let noise = [];
let requests = 0;

async function open(options) {
  const context = await browser.newContext({ reducedMotion: 'reduce', ...options });
  await context.addInitScript(() => addEventListener('securitypolicyviolation', (event) =>
    console.error(`policy: ${event.violatedDirective} ${event.blockedURI}`)));
  context.on('request', (request) => {
    requests += 1;
    if (request.url() !== url) noise.push(`request: ${request.url().slice(0, 200)}`);
  });
  context.on('console', (message) => {
    if (['error', 'warning'].includes(message.type())) noise.push(`console: ${message.text()}`);
  });
  context.on('weberror', (error) => noise.push(`error: ${error.error()}`));
  const page = await context.newPage();
  page.setDefaultTimeout(PATIENCE_MS);
  return page;
}

const says = (page) => page.evaluate(() => ({
  tone: document.getElementById('main').dataset.tone,
  title: document.title,
  word: document.getElementById('word').textContent,
  reason: document.getElementById('reason').textContent,
  epoch: document.querySelector('[data-tick=figure]')?.dateTime ?? null,
  figure: document.querySelector('.figure').textContent.replace(/\s+/g, ' ').trim(),
  tiles: Object.fromEntries([...document.querySelectorAll('.tiles div')].map((tile) =>
    [tile.querySelector('dt').textContent, tile.querySelector('dd').textContent])),
  url: document.querySelector('.urls code').textContent,
}));

// What the accessibility checker says, all its rules but those that are only experiments.
async function violations(page) {
  await page.evaluate(axe.source);
  const { violations: found } = await page.evaluate(() => axe.run(document, { resultTypes: ['violations'] }));
  return found.flatMap(({ id, nodes }) => nodes.map((node) => `${id}: ${node.html.slice(0, 200)} ${node.failureSummary}`));
}

let staying; // the page that stays open

const commands = {
  // Both colour schemes, at every width.
  async look(name) {
    const seen = { wide: [], violations: [] };
    for (const colorScheme of ['light', 'dark']) {
      const page = await open({ colorScheme });
      await page.goto(url);
      for (const width of WIDTHS) {
        await page.setViewportSize({ width, height: 900 });
        const overflow = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
        if (overflow > 0) seen.wide.push(`${overflow} px too wide at ${width}, ${colorScheme}`);
        await page.screenshot({ path: `${shots}/${name}-${colorScheme}-${width}.png`, fullPage: true });
        if (width === (colorScheme === 'light' ? 320 : 1280)) seen.violations.push(...await violations(page));
      }
      seen[colorScheme] = await page.evaluate(() => getComputedStyle(document.body).backgroundColor);
      Object.assign(seen, await says(page));
      await page.context().close();
    }
    return seen;
  },

  // Without JavaScript.
  async plain() {
    const page = await open({ javaScriptEnabled: false });
    await page.goto(url);
    const seen = { text: await page.locator('body').innerText(), refresh: await page.locator('meta[http-equiv=refresh]').count() };
    await page.context().close();
    return seen;
  },

  // A wallet in a page of another origin: it fetches a snapshot with a header of its own, and asks again for what it has.
  async elsewhere(path) {
    const context = await browser.newContext();
    const page = await context.newPage();
    await page.goto(new URL('/healthz', url).href.replace('127.0.0.1', 'localhost'));
    const seen = await page.evaluate(async (snapshot) => {
      const headers = { 'x-wallet': 'mine' };
      const answer = await fetch(snapshot, { headers });
      const bytes = new Uint8Array(await answer.arrayBuffer());
      const tag = answer.headers.get('etag');
      const again = await fetch(snapshot, { headers: { ...headers, 'if-none-match': tag }, cache: 'no-store' });
      return { origin: location.origin, status: answer.status, bytes: [...bytes], again: again.status };
    }, new URL(path, url).href);
    await context.close();
    return seen;
  },

  // A page that stays open, its keyboard focus on the second of what can have it, which is unfolded; time is the test's.
  async stay() {
    staying = await open({ viewport: { width: 390, height: 700 } });
    await staying.clock.install();
    await staying.goto(url);
    await staying.keyboard.press('Tab');
    await staying.keyboard.press('Enter');
    await staying.evaluate(() => { scrollTo(0, 400); window.mine = true; });
    const before = await says(staying);
    await staying.clock.fastForward(3000);
    return { before, after: await says(staying), focus: await focus() };
  },

  // Waits until it shows another epoch.
  async changed(epoch) {
    await until((seen) => seen.epoch !== epoch);
    const kept = await staying.evaluate(() => ({ mine: window.mine === true, scroll: scrollY }));
    return { ...await says(staying), ...kept, focus: await focus() };
  },

  // Waits until it says so.
  async tone(tone) {
    await until((seen) => seen.tone === tone);
    return says(staying);
  },

  // A minute in a tab that nobody sees, and the moment in which it is looked at again.
  async hidden() {
    const hide = (hidden) => staying.evaluate((hidden) => {
      Object.defineProperty(document, 'hidden', { configurable: true, get: () => hidden });
      document.dispatchEvent(new Event('visibilitychange'));
    }, hidden);
    await hide(true);
    await staying.waitForLoadState('networkidle');
    const before = requests;
    await staying.clock.fastForward(60_000);
    await staying.evaluate(() => new Promise((done) => requestAnimationFrame(done)));
    const meanwhile = requests - before;
    const asked = staying.waitForRequest(url);
    await hide(false);
    await asked;
    return { meanwhile };
  },
};

const focus = () => staying.evaluate(() => ({
  on: document.activeElement.textContent,
  unfolded: document.activeElement.parentElement.open ?? null,
}));

async function until(holds) {
  const started = Date.now();
  for (;;) {
    const seen = await says(staying);
    if (holds(seen)) return;
    if (Date.now() - started > PATIENCE_MS) throw new Error(`it stays like this: ${JSON.stringify(seen)}`);
    await staying.clock.fastForward(1000);
    await new Promise((done) => setTimeout(done, 20));
  }
}

for await (const line of createInterface({ input: process.stdin })) {
  const [command, ...words] = line.split(' ');
  let seen;
  try {
    seen = await commands[command](...words);
  } catch (error) {
    seen = { failed: String(error.stack ?? error) };
  }
  console.log(JSON.stringify({ ...seen, noise }));
  noise = [];
}
await browser.close();
