/**
 * The formats that `format` may name. Each takes linear time.
 */

const MAX_LENGTH = 2_048;
const DAYS = [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];

/** Name to check. */
export const formats: Readonly<Record<string, (text: string) => boolean>> = {
  'date-time': bounded((text) => {
    const [date, time, more] = text.split(/[Tt ]/, 3);
    return more === undefined && time !== undefined && isDate(date) && isTime(time);
  }),
  date: bounded(isDate),
  time: bounded(isTime),
  duration: bounded((text) => /^P(?!$)(\d+W|(\d+Y)?(\d+M)?(\d+D)?(T(?=\d)(\d+H)?(\d+M)?(\d+S)?)?)$/.test(text)),
  email: bounded((text) => {
    const at = text.lastIndexOf('@');
    return at > 0 && at <= 64 && /^[A-Za-z0-9!#$%&'*+/=?^_`{|}~.-]+$/.test(text.slice(0, at)) && isHostname(text.slice(at + 1));
  }),
  hostname: bounded(isHostname),
  ipv4: bounded(isIpv4),
  ipv6: bounded(isIpv6),
  uri: bounded((text) => /^[A-Za-z][A-Za-z0-9+.-]*:[^\s<>"{}|\\^`]+$/.test(text)),
  uuid: bounded((text) => /^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$/.test(text)),
};

function bounded(check: (text: string) => boolean): (text: string) => boolean {
  return (text) => text.length <= MAX_LENGTH && check(text);
}

function isDate(text: string): boolean {
  const match = /^(\d{4})-(\d\d)-(\d\d)$/.exec(text);
  if (match === null) return false;
  const [year, month, day] = match.slice(1).map(Number);
  const leap = year % 4 === 0 && (year % 100 !== 0 || year % 400 === 0);
  const last = month === 2 && leap ? 29 : (DAYS[month - 1] ?? 0);
  return day >= 1 && day <= last;
}

function isTime(text: string): boolean {
  const match = /^(\d\d):(\d\d):(\d\d)(\.\d+)?([Zz]|[+-](\d\d):(\d\d))$/.exec(text);
  if (match === null) return false;
  const [hour, minute, second] = match.slice(1, 4).map(Number);
  return hour < 24 && minute < 60 && second <= 60 && Number(match[6] ?? 0) < 24 && Number(match[7] ?? 0) < 60;
}

function isHostname(text: string): boolean {
  return (
    text.length <= 253 && text.split('.').every((label) => label.length <= 63 && /^[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?$/.test(label))
  );
}

function isIpv4(text: string): boolean {
  const parts = text.split('.', 5);
  return parts.length === 4 && parts.every((part) => /^(0|[1-9]\d{0,2})$/.test(part) && Number(part) < 256);
}

function isIpv6(text: string): boolean {
  const halves = text.split('::', 3);
  if (halves.length > 2) return false;
  const groups = halves.flatMap((half) => (half === '' ? [] : half.split(':')));
  const last = groups.at(-1) ?? '';
  const dotted = last.includes('.');
  const hex = dotted ? groups.slice(0, -1) : groups;
  if (dotted && (!isIpv4(last) || text.endsWith('::'))) return false;
  const count = hex.length + (dotted ? 2 : 0);
  return hex.every((group) => /^[0-9a-fA-F]{1,4}$/.test(group)) && (halves.length === 2 ? count < 8 : count === 8);
}
