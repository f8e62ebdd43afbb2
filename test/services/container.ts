/** Servers in containers, where Docker answers. */
import { existsSync } from 'node:fs';
import type { Started } from './service.ts';

/** Longest time for an image to be fetched and started. */
const startMs = 60_000;

/** A container that serves one port. `url` is told the host and the port. */
export async function inContainer(
  image: string,
  port: number,
  environment: Readonly<Record<string, string>>,
  readyLine: { readonly pattern: RegExp; readonly times: number },
  url: (host: string, port: number) => string,
): Promise<Started | { readonly why: string }> {
  // The library takes half a second to load; without a socket there is nothing to ask.
  if (process.env.DOCKER_HOST === undefined && !existsSync('/var/run/docker.sock')) return { why: 'there is no Docker here' };
  const { GenericContainer, Wait } = await import('testcontainers');
  const starting = new GenericContainer(image)
    .withEnvironment({ ...environment })
    .withExposedPorts(port)
    .withWaitStrategy(Wait.forLogMessage(readyLine.pattern, readyLine.times))
    .withStartupTimeout(startMs)
    .start();
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<null>((resolve) => {
    timer = setTimeout(resolve, startMs, null);
  });
  try {
    const container = await Promise.race([starting, late]);
    if (container === null) {
      starting.then((it) => it.stop()).catch(() => {});
      return { why: `${image} was not up after ${startMs / 1000} s` };
    }
    return {
      url: url(container.getHost(), container.getMappedPort(port)),
      close: async () => void (await container.stop()),
      // A restarted container gets another port.
      stop: null,
      start: null,
    };
  } finally {
    clearTimeout(timer);
  }
}
