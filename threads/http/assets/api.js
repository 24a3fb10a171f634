// Questions to the node. All are GET; no question changes anything.

/** A node that has not answered by then counts as offline. */
const TIMEOUT_MS = 8000;

/** An answer that is not the figures asked for; `status` is HTTP's. */
export class ApiError extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

/** The JSON at `path`. */
export async function ask(path) {
  const response = await fetch(path, { signal: AbortSignal.timeout(TIMEOUT_MS), cache: 'no-store' });
  const body = await response.json().catch(() => null);
  if (!response.ok) throw new ApiError(response.status, body?.error ?? `HTTP ${response.status}`);
  if (body === null) throw new ApiError(response.status, 'the answer is not JSON');
  return body;
}
