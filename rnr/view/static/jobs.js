// Ask the server for work and wait until it is done.
const WAIT = 400; // ms between two questions

export async function send(address, body) {
  const answer = await fetch(address, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) });
  const text = await answer.text();
  let data = {};
  try {
    data = JSON.parse(text);
  } catch { /* an answer in words */ }
  if (!answer.ok) throw new Error(data.error ?? text);
  return data;
}

/** The result of a job; until then `status` tells how far it is. */
export async function finished(job, status) {
  for (;;) {
    const answer = await (await fetch(`../api/jobs/${job}`)).json();
    if (answer.error) throw new Error(answer.error);
    if (answer.result) return answer.result;
    status.textContent = `${answer.stage} …`;
    await new Promise((resolve) => setTimeout(resolve, WAIT));
  }
}
