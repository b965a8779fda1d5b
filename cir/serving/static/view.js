// Elements of the page. Every text goes in as text: ids, titles and captions are whatever people wrote.

export const by = id => document.getElementById(id);

export function element(name, values = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(values)) {
    if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
    else if (value === true) made.setAttribute(key, "");
    else if (value !== false && value != null) made.setAttribute(key, value);
  }
  made.append(...children.filter(child => child != null));
  return made;
}

export const named = image => image.title || image.id;

/** The address of a photo's picture of some height and width. */
const sized = (picture, side) => `${picture}${picture.includes("?") ? "&" : "?"}side=${side}`;

export function picture(image, side, alt = "") {
  if (!image.picture) return element("span", {class: "quiet"}, "no photo");
  return element("img", {src: sized(image.picture, side), alt, loading: "lazy", decoding: "async"});
}

export function frame(image, side, {label, onclick}) {
  return element("button", {type: "button", class: "frame", "aria-label": label, title: named(image), onclick}, picture(image, side));
}

export const percent = value => value.toFixed(3);

export const count = (number, noun) => `${number.toLocaleString("en")} ${noun}${number === 1 ? "" : "s"}`;
