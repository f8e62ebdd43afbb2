/**
 * A workflow as lines: the tree of its jobs with how far each is. Pure: size and time come in.
 */
import { isJobEndedName } from '../../client/status.ts';
import type { GraphModel } from '../graph/model.ts';
import { strokes, type TreeLine, treeOf } from '../graph/tree.ts';
import { clean, paint, type Terminal } from '../terminal.ts';
import { countsOf, type JobProgress, type WorkflowProgress } from './progress.ts';
import { statusSign, statusText } from './status.ts';
import { cut, width } from './table.ts';
import { durationText } from './time.ts';

/** What a picture needs to know of the terminal. */
export type Canvas = Pick<Terminal, 'color' | 'unicode'>;

/** The places of the jobs: one line each, in the shape of the graph. */
export function places(model: GraphModel): TreeLine[] {
  return treeOf(model).filter((line) => line.reference === null);
}

/** Lines of a picture, at most `rows`, none wider than `columns`. Without room for all jobs those that matter now are shown. */
export function picture(
  canvas: Canvas,
  view: WorkflowProgress,
  lines: readonly TreeLine[],
  size: { readonly columns: number; readonly rows: number },
  nowMs: number,
): string[] {
  const room = Math.max(3, size.rows - 3);
  const shown = lines.length <= room ? lines : lines.filter((line) => mattersNow(view.jobs.get(line.node.id))).slice(0, room - 1);
  const hidden = lines.length - shown.length;
  const names = shown.map((line) => (hidden > 0 ? '' : strokes(line, canvas.unicode)) + line.node.id);
  const nameWidth = Math.min(Math.max(...names.map((name) => [...name].length), 0), Math.floor(size.columns / 2));
  const jobs = shown.map((line, index) => {
    const name = cut(names[index], nameWidth).padEnd(nameWidth);
    return jobLine(canvas, view.jobs.get(line.node.id), name, size.columns, nowMs);
  });
  return [headLine(canvas, view, nowMs), ...jobs, ...(hidden > 0 ? [paint(canvas, 'dim', `  and ${hidden} more jobs`)] : [])];
}

function mattersNow(job: JobProgress | undefined): boolean {
  return job !== undefined && (job.status === 'FAILED' || !(isJobEndedName(job.status) || job.status === 'PENDING'));
}

/** `data-pipeline 01K... RUNNING 2 of 4 jobs, 1 running 3.2s`. */
export function headLine(canvas: Canvas, view: WorkflowProgress, nowMs: number): string {
  const counts = countsOf(view);
  const ended = (counts.SUCCEEDED ?? 0) + (counts.FAILED ?? 0) + (counts.CANCELLED ?? 0) + (counts.SKIPPED ?? 0);
  const failed = counts.FAILED === undefined ? '' : paint(canvas, 'red', `, ${counts.FAILED} failed`);
  const time = view.startMs === 0 ? '' : ` ${durationText((view.endMs || nowMs) - view.startMs)}`;
  const remark = view.remark === '' ? '' : ` ${paint(canvas, 'dim', clean(view.remark))}`;
  const title = `${paint(canvas, 'bold', view.name)} ${view.id} ${statusText(canvas, view.status)}`;
  return `${title} ${ended} of ${view.jobs.size} jobs${failed}${time}${remark}`;
}

function jobLine(canvas: Canvas, job: JobProgress | undefined, name: string, columns: number, nowMs: number): string {
  if (job === undefined) return name;
  const sign = statusSign(canvas, job.status);
  const time = job.startMs === 0 ? '' : durationText((job.endMs || nowMs) - job.startMs);
  const bar = job.fraction === null ? '' : progressBar(canvas, job.fraction);
  const attempt = job.attempt > 1 ? `attempt ${job.attempt}` : '';
  const start = [`${sign} ${name}`, statusText(canvas, job.status) + ' '.repeat(Math.max(0, 9 - job.status.length)), time, bar, attempt]
    .filter((part) => part !== '')
    .join(' ');
  const left = columns - width(start) - 2;
  const remark = job.remark === '' || left < 8 ? '' : ` ${paint(canvas, 'dim', cut(clean(job.remark), left))}`;
  return start.trimEnd() + remark;
}

function progressBar(canvas: Canvas, fraction: number): string {
  const cells = 10;
  const full = Math.round(Math.min(1, Math.max(0, fraction)) * cells);
  const [on, off] = canvas.unicode ? ['█', '░'] : ['#', '.'];
  return `${on.repeat(full)}${off.repeat(cells - full)} ${Math.round(fraction * 100)}%`;
}
