// The page: what is asked stands in the trail, which stands in the address; each change asks the server again.

import {get, image, remember, search} from "./api.js";
import {Picker} from "./picker.js";
import {show} from "./results.js";
import {EVEN, advanced, current, empty, fromHash, revised, step, toHash} from "./trail.js";
import {by, count, element, named, picture} from "./view.js";

const TOP = 24;
let info, picker, trail = empty(), running = null;
/** The last photos of one's own, by the random keys of their steps: they are in no link and on no server. */
const own = new Map();
const OWN = 8;

const titles = () => new Map(info.retrievers.map(one => [one.name, one.title]));

function fail(fault) {
  if (fault.name === "AbortError") return;
  by("fault").textContent = fault.message;
  by("fault").hidden = false;
  by("status").textContent = "";
}

// ------------------------------------------------------------------------------ what is asked

function body(now) {
  return {
    images: now.image ? [now.image] : [],
    photo: own.get(now.own)?.encoded || null,
    text: now.text,
    like: now.like,
    unlike: now.unlike,
    less: now.less.split(",").map(word => word.trim()).filter(Boolean),
    weight: now.weight === EVEN || !(now.text && (now.image || now.own)) ? null : now.weight,
    category: trail.category || null,
    top: asked(),
    retrievers: trail.by,
  };
}

const asked = () => Math.min(trail.top || TOP, info.limits.top);

function answers(now, signal) {
  if (!now.query) return search(body(now), signal);
  return get(`queries/${encodeURIComponent(now.query)}`, {
    retrievers: trail.by.length ? trail.by : [info.retrievers[0].name], top: asked(),
  });
}

async function run() {
  running?.abort();
  running = new AbortController();
  by("answers").ariaBusy = "false";
  const {signal} = running, now = current(trail);
  draw();
  if (!now) return browse();
  if (now.own && !own.has(now.own)) {
    return fail(new Error("This step began with somebody's own photo, which no link holds: choose yours to go on."));
  }
  by("answers").ariaBusy = "true";
  try {
    const found = await answers(now, signal);
    if (!signal.aborted) display(found);
  } catch (fault) {
    if (signal.aborted) return;
    by("answers").replaceChildren();
    fail(fault);
  } finally {
    if (!signal.aborted) by("answers").ariaBusy = "false";
  }
}

const narrow = matchMedia("(max-width: 900px)");

function display(found) {
  for (const answer of found.answers) for (const result of answer.results) remember(result.image);
  show(by("answers"), found, titles(), {refine, taste});
  const number = found.answers[0].results.length;
  by("status").textContent = number ? `${count(number, "photo")}${spent(found)}` : "Nothing was found: ask for less, or in all categories.";
  if (narrow.matches && trail.at >= 0) by("results").scrollIntoView();
  const more = number >= asked() && asked() < info.limits.top;
  if (more) by("answers").append(element("button", {type: "button", class: "button show-more", onclick: showMore}, "More"));
}

function spent({milliseconds}) {
  if (!milliseconds) return "";
  const {encode, compose, search: searched} = milliseconds;
  return ` in ${(encode + compose + searched).toFixed(0)} ms`;
}

// ------------------------------------------------------------------------------ what a user does

/** Goes to a trail: it is written into the address, and asked. */
function go(next) {
  trail = next;
  history.pushState(null, "", `${location.pathname}${toHash(trail)}`);
  return run();
}

const change = values => go({...revised(trail, {query: null, ...values}), top: 0});

function refine(image) {
  remember(image);
  go(advanced(trail, step({image: image.id})));
  if (!narrow.matches) by("text").focus({preventScroll: true});
  scrollTo({top: 0});
}

function begin(image) {
  remember(image);
  go({...advanced(empty(), step({image: image.id})), category: trail.category, by: trail.by});
  scrollTo({top: 0});
}

function ask(query) {
  remember(query.reference);
  go({...advanced(empty(), step({image: query.reference.id, text: query.text, query: query.id})), by: trail.by});
  scrollTo({top: 0});
}

function taste(which, image) {
  const now = current(trail);
  const other = which === "like" ? "unlike" : "like";
  change({[which]: [...new Set([...now[which], image.id])], [other]: now[other].filter(id => id !== image.id)});
}

function showMore() {
  go({...trail, top: Math.min(asked() + TOP, info.limits.top)});
}

async function random() {
  const seed = 1 + Math.floor(Math.random() * 2 ** 40);
  try {
    const {images} = await get("images", {seed, count: 1, category: trail.category});
    if (images.length) begin(images[0]);
  } catch (fault) {
    fail(fault);
  }
}

function browse() {
  by("answers").replaceChildren();
  return picker.open();
}

function submit() {
  const values = {text: by("text").value.trim(), less: by("less").value.trim(), weight: Number(by("weight").value)};
  const now = current(trail);
  if (!now && !values.text) return fail(new Error("Pick a photo, or write what you look for."));
  const same = now?.query && values.text === now.text && !values.less && values.weight === EVEN;
  if (same) run();
  else change(values);
}

async function upload(file) {
  if (!file) return;
  if (file.size > info.limits.upload_bytes) {
    const most = Math.floor(info.limits.upload_bytes / 2 ** 20);
    return fail(new Error(`${file.name} is larger than the ${most} MiB that this server takes.`));
  }
  const bytes = new Uint8Array(await file.arrayBuffer());
  const key = keep({encoded: base64(bytes), preview: URL.createObjectURL(file)});
  go({...advanced(empty(), step({own: key, text: by("text").value.trim()})), category: trail.category, by: trail.by});
}

/** Keeps a photo of one's own under a key that no other step and no link has; the oldest goes. */
function keep(photo) {
  const key = Array.from(crypto.getRandomValues(new Uint32Array(4)), part => part.toString(36)).join("");
  own.set(key, photo);
  if (own.size > OWN) {
    const [oldest, {preview}] = own.entries().next().value;
    URL.revokeObjectURL(preview);
    own.delete(oldest);
  }
  return key;
}

function base64(bytes) {
  let text = "";
  for (let start = 0; start < bytes.length; start += 32768) {
    text += String.fromCharCode(...bytes.subarray(start, start + 32768));
  }
  return btoa(text);
}

async function share() {
  const button = by("share");
  try {
    await navigator.clipboard.writeText(location.href);
    button.textContent = "Copied";
  } catch {
    prompt("The link to this search", location.href);
  }
  setTimeout(() => { button.textContent = "Copy the link"; }, 1500);
}

// ------------------------------------------------------------------------------ what is drawn

function draw() {
  const now = current(trail);
  by("fault").hidden = true;
  by("text").value = now?.text || "";
  by("less").value = now?.less || "";
  by("weight").value = now?.weight ?? EVEN;
  sayWeight();
  by("category").value = trail.category;
  const [first = info.retrievers[0].name, second = ""] = trail.by;
  by("first").value = first;
  by("second").value = second;
  if (now) picker.close();
  drawReference(now);
  drawTrail();
  drawTastes(now);
  drawWords();
}

async function drawReference(now) {
  const place = by("reference");
  const known = now?.image ? await image(now.image).catch(fail) : null;
  if (now !== current(trail)) return;
  place.classList.toggle("empty", !known && !now?.own);
  if (known) {
    place.replaceChildren(element("div", {class: "frame"}, picture(known, 240, named(known))), element("span", {class: "named"}, named(known)));
  } else if (now?.own) {
    const mine = own.get(now.own);
    const drawn = mine ? element("img", {src: mine.preview, alt: "Your own photo"}) : "";
    place.replaceChildren(element("div", {class: "frame"}, drawn), element("span", {}, "Your own photo"));
  } else {
    place.replaceChildren("None yet: pick one, drop one in, or search with words alone.");
  }
}

function drawTrail() {
  by("trail").hidden = !trail.steps.length;
  by("steps").replaceChildren(...trail.steps.map((one, at) => {
    const thumb = element("span", {class: "blank"});
    if (one.image) image(one.image).then(known => thumb.replaceWith(picture(known, 120)), () => {});
    else if (own.has(one.own)) thumb.replaceWith(element("img", {src: own.get(one.own).preview, alt: ""}));
    const said = one.text || (one.like.length + one.unlike.length ? "more and less" : one.image || one.own ? "like this" : "");
    return element("li", {}, element("button", {
      type: "button", class: "step", "aria-current": at === trail.at ? "step" : null,
      onclick: () => go({...trail, at, top: 0}),
    }, thumb, element("span", {}, said)));
  }));
}

function drawTastes(now) {
  const lists = now ? [["like", "more like", now.like], ["unlike", "less like", now.unlike]] : [];
  const chips = lists.flatMap(([which, word, ids]) => ids.map(id => {
    const label = element("span", {}, `${word} ${id}`);
    image(id).then(known => { label.textContent = `${word} ${named(known)}`; }, () => {});
    return element("button", {
      type: "button", class: "word taste", title: "Take this back",
      onclick: () => change({[which]: ids.filter(one => one !== id)}),
    }, label, element("span", {"aria-hidden": "true"}, "×"));
  }));
  by("tastes").hidden = !chips.length;
  by("tastes").replaceChildren(...chips);
}

let worded = null;

/** Words of the catalogue's attributes, which a click adds to the text. */
async function drawWords() {
  if (worded === trail.category) return;
  worded = trail.category;
  const groups = await get("words", {category: trail.category, count: 8}).catch(() => []);
  by("words").replaceChildren(...inTurn(groups).map(({name, word, images}) => element("button", {
    type: "button", class: "word", title: `${name}: ${count(images, "photo")}`, onclick: () => addWord(word),
  }, word)));
}

/** The first word of each attribute, then the second of each, and so on. */
function inTurn(groups) {
  const longest = Math.max(0, ...groups.map(({words}) => words.length));
  return Array.from({length: longest}, (_, nth) => groups.flatMap(({name, words}) => (words[nth] ? [{name, ...words[nth]}] : []))).flat();
}

function addWord(word) {
  const text = by("text").value.trim();
  by("text").value = text ? `${text}, ${word}` : word;
  by("text").focus();
}

function sayWeight() {
  const value = Number(by("weight").value);
  const text = value === EVEN ? "photo and text alike" : `${Math.round(100 * value)} percent text`;
  by("weight").setAttribute("aria-valuetext", text);
}

function fillChoices() {
  for (const {name, images} of info.categories) {
    by("category").append(element("option", {value: name}, `${name} (${images.toLocaleString("en")})`));
  }
  for (const {name, title} of info.retrievers) {
    by("first").append(element("option", {value: name}, title));
    by("second").append(element("option", {value: name}, title));
  }
  by("beside-field").hidden = info.retrievers.length < 2;
  by("first").closest("label").hidden = info.retrievers.length < 2;
}

function ranked() {
  const [first, second] = [by("first").value, by("second").value];
  go({...trail, by: second && second !== first ? [first, second] : first === info.retrievers[0].name ? [] : [first]});
}

/** Once the server has told what it serves; what a user does before that waits for it. */
const started = start();
const then = act => (...given) => started.then(() => act(...given), () => {});

function listen() {
  const on = (name, kind, act) => by(name).addEventListener(kind, then(act));
  by("ask").addEventListener("submit", event => { event.preventDefault(); then(submit)(); });
  on("browse", "click", () => go({...empty(), category: trail.category, by: trail.by}));
  by("home").addEventListener("click", event => { event.preventDefault(); then(go)(empty()); });
  on("random", "click", random);
  by("upload").addEventListener("change", event => { then(upload)(event.target.files[0]); event.target.value = ""; });
  on("share", "click", share);
  on("weight", "input", sayWeight);
  on("weight", "change", () => current(trail) && submit());
  on("category", "change", () => {
    const next = {...trail, category: by("category").value, top: 0};
    go(current(trail)?.query ? revised(next, {query: null}) : next);
  });
  on("first", "change", ranked);
  on("second", "change", ranked);
  by("text").addEventListener("keydown", event => {
    if (event.key === "Enter" && !event.shiftKey) { event.preventDefault(); by("ask").requestSubmit(); }
  });
  addEventListener("popstate", then(() => { trail = fromHash(location.hash); run(); }));
  addEventListener("dragover", event => { event.preventDefault(); document.body.classList.add("dropping"); });
  addEventListener("dragleave", () => document.body.classList.remove("dropping"));
  addEventListener("drop", event => {
    event.preventDefault();
    document.body.classList.remove("dropping");
    then(upload)(event.dataTransfer.files[0]);
  });
}

async function start() {
  info = await get("info");
  by("about").textContent = `${count(info.images, "photo")} in ${count(info.categories.length, "category").replace("categorys", "categories")}`;
  picker = new Picker(info.categories, info.queries.filter(one => one.queries), {pick: begin, ask, fail});
  fillChoices();
  trail = fromHash(location.hash);
}

/** The first answer. A text that was typed before the server told what it serves is kept. */
function first() {
  const typed = by("text").value, answered = run();
  if (!current(trail)) by("text").value = typed;
  return answered;
}

listen();
started.then(first).catch(fail);
