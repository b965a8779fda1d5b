// The server's API: answers as objects, refusals as errors that say one line.

async function answer(response) {
  if (response.ok) return response.json();
  throw new Error(await told(response));
}

async function told(response) {
  if (response.status === 503) return "The server is busy. Try again in a moment.";
  try {
    const {detail} = await response.json();
    return Array.isArray(detail) ? detail.map(one => one.msg).join("; ") : String(detail);
  } catch {
    return `The server answered ${response.status}.`;
  }
}

function path(route, values = {}) {
  const asked = new URLSearchParams();
  for (const [name, value] of Object.entries(values)) {
    for (const one of [value].flat()) if (one !== "" && one != null) asked.append(name, one);
  }
  return `/api/${route}?${asked}`;
}

export const get = async (route, values) => answer(await fetch(path(route, values)));

export const search = async (body, signal) => answer(await fetch("/api/search", {
  method: "POST", headers: {"Content-Type": "application/json"}, body: JSON.stringify(body), signal,
}));

const images = new Map();

/** What the server knows of a photo; asked once, and again where it did not answer. */
export function image(id) {
  if (!images.has(id)) {
    const asked = get(`images/${encodeURIComponent(id)}`);
    images.set(id, asked);
    asked.catch(() => { if (images.get(id) === asked) images.delete(id); });
  }
  return images.get(id);
}

export function remember(known) {
  images.set(known.id, Promise.resolve(known));
  return known;
}
