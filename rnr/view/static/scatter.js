// Predicted against true severity, of the records that the table shows.
import { find } from "./dom.js";
import { kinds, titles } from "./rows.js";

export function draw(list, kind) {
  const places = kind >= 0 ? [kind] : kinds.map((_, place) => place);
  const points = list.flatMap((record) => places.map((place) => [record.truth[place], record.before[place]])).filter(([a, b]) => a !== null && b !== null && a !== undefined && b !== undefined);
  const style = getComputedStyle(document.documentElement);
  const canvas = find("#scatter");
  const context = canvas.getContext("2d");
  const [side, edge] = [canvas.width, 56];
  const at = (severity) => edge + ((side - 2 * edge) * severity) / 100;
  context.clearRect(0, 0, side, side);
  context.strokeStyle = style.getPropertyValue("--line");
  context.fillStyle = style.getPropertyValue("--muted");
  context.font = "22px system-ui, sans-serif";
  context.lineWidth = 2;
  for (const severity of [0, 25, 50, 75, 100]) {
    context.strokeRect(at(0), side - at(severity), at(100) - at(0), 0);
    context.fillText(severity, at(severity) - 12, side - edge + 30);
    if (severity) context.fillText(severity, 8, side - at(severity) + 8);
  }
  context.beginPath();
  context.moveTo(at(0), side - at(0));
  context.lineTo(at(100), side - at(100));
  context.stroke();
  context.fillStyle = style.getPropertyValue("--before");
  context.globalAlpha = points.length > 500 ? 0.25 : 0.7;
  for (const [truth, predicted] of points) {
    context.beginPath();
    context.arc(at(truth), side - at(predicted), 5, 0, 7);
    context.fill();
  }
  context.globalAlpha = 1;
  const error = points.reduce((sum, [a, b]) => sum + Math.abs(a - b), 0) / points.length;
  find("#scatter-words").textContent = points.length
    ? `${points.length.toLocaleString("en")} findings${kind >= 0 ? ` of ${titles[kind]}` : ""}: predicted (up) against true severity (right). The mean error is ${error.toFixed(1)} points; on the line it would be 0.`
    : "None of these records has a ground truth.";
}
