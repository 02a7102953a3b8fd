// Talking to the cloud: JSON, pictures, and what a problem (RFC 9457) says.

export const API = new URL("../api/v1", import.meta.url).pathname;  // as a proxy has it

export class Problem extends Error {
  constructor(status, detail, retryAfterSeconds) {
    super(detail);
    this.status = status;
    this.retryAfterSeconds = retryAfterSeconds;
  }
}

// Who wants to know that the cloud asks for a token (401).
export const session = {onRefused: () => {}};

async function ask(path, options) {
  let response;
  try {
    response = await fetch(path, options);
  } catch {
    throw new Problem(0, "The cloud does not answer.");
  }
  if (response.ok) return response;
  const body = await response.json().catch(() => ({}));
  if (response.status === 401) session.onRefused();
  const inputs = (body.errors || []).map(({detail}) => detail.replace("Value error, ", "")).join("; ");
  throw new Problem(response.status, inputs || body.detail || body.title || response.statusText,
    Number(response.headers.get("Retry-After")) || 0);
}

export async function get(path) {
  return (await ask(path)).json();
}

export const post = (path, body) => send("POST", path, body);
export const put = (path, body) => send("PUT", path, body);

async function send(method, path, body) {
  const options = {method};
  if (body !== undefined) Object.assign(options, {headers: {"Content-Type": "application/json"}, body: JSON.stringify(body)});
  const response = await ask(path, options);
  return response.status === 204 ? null : response.json();
}

// A picture and what its headers tell; a decoder that is busy is asked again as it says.
export async function getPicture(url) {
  for (let tries = 0; ; tries++) {
    try {
      const started = performance.now();
      const response = await ask(url, {headers: {Accept: "image/webp, image/png;q=0.9, image/jpeg;q=0.8"}});
      const blob = await response.blob();
      const decoding = /decode;dur=([\d.]+)/.exec(response.headers.get("Server-Timing") || "");
      return {
        url: URL.createObjectURL(blob),
        suffix: blob.type.replace("image/", "").replace("jpeg", "jpg"),
        level: Number(response.headers.get("Slimwire-Level")),
        decodeSeconds: decoding ? Number(decoding[1]) / 1000 : null,
        totalSeconds: (performance.now() - started) / 1000,
      };
    } catch (error) {
      if (error.status !== 429 || tries === 5) throw error;
      await new Promise(done => setTimeout(done, 1000 * error.retryAfterSeconds));
    }
  }
}

export async function signOut() {
  await ask(`${API}/session`, {method: "DELETE"});
}

export async function signIn(token) {
  await ask(`${API}/session`, {method: "POST", headers: {Authorization: `Bearer ${token}`}});
}
