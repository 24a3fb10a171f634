// Requests to the node’s API. All are GET requests and change nothing.

/** A node that does not respond within this time counts as offline. */
const TIMEOUT_MS = 8000;

/** An error response of the API; `status` is the HTTP status. */
export class ApiError extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

/** Fetches the JSON document at `path`. */
export async function fetchJson(path) {
  const response = await fetch(path, { signal: AbortSignal.timeout(TIMEOUT_MS), cache: 'no-store' });
  const body = await response.json().catch(() => null);
  if (!response.ok) throw new ApiError(response.status, body?.error ?? `HTTP ${response.status}`);
  if (body === null) throw new ApiError(response.status, 'the response is not JSON');
  return body;
}
