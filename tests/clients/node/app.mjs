// The function that the tests run with Lambda's Node.js runtime client: it does what its event says.
// `handler` answers as a whole, `streaming` as a stream.

const GREETING = "Grüße, 世界 🙂\u0000\u007f";
const BYTES = Buffer.from(Array.from({ length: 256 }, (_, byte) => byte));

export const handler = async (event, context) => {
  switch (event?.do) {
    case "context":
      return seen(context);
    case "large":
      return "x".repeat(event.bytes - 2);
    case "unicode":
      return GREETING;
    case "binary":
      return BYTES.toString("base64");
    case "error":
      throw new RangeError(event.message);
    case "write":
      return write(event);
    default:
      return event;
  }
};

export const streaming = awslambda.streamifyResponse(async (event, stream, context) => {
  if (event?.do === "binary") {
    stream = awslambda.HttpResponseStream.from(stream, { statusCode: 200, headers: { "x-odd": "Grüße" } });
    stream.write(BYTES);
  } else {
    stream.write(JSON.stringify(await handler(event, context)));
  }
  stream.end();
});

const seen = (context) => ({
  request: context.awsRequestId,
  deadline: deadline(context),
  arn: context.invokedFunctionArn,
  trace: process.env._X_AMZN_TRACE_ID,
  client: context.clientContext,
  identity: context.identity,
  tenant: context.tenantId,
});

// The context only tells what is left: asked for until the clock does not tick meanwhile.
const deadline = (context) => {
  for (;;) {
    const now = Date.now();
    const left = context.getRemainingTimeInMillis();
    if (Date.now() === now) return now + left;
  }
};

// Writes two keys, and ends this attempt as the event wants it ended.
const write = async (event) => {
  const { attempt } = JSON.parse(await aft("GET", "transaction"));
  for (const key of event.keys) await aft("PUT", `kv/${key}`, `${event.value} ${attempt}`);
  switch (event.attempts[attempt - 1]) {
    case "error":
      throw new RangeError(`attempt ${attempt}: ${event.value}`);
    case "exit":
      return process.exit(3);
    case "panic":
      // Caught by nobody.
      setImmediate(() => {
        throw new RangeError(event.value);
      });
      return new Promise(() => {});
    default:
      return { attempt };
  }
};

const aft = async (method, path, body) => {
  const headers = { "X-Aft-Token": process.env.AFT_TOKEN };
  const answer = await fetch(`${process.env.AFT_ENDPOINT}/v1/${path}`, { method, body, headers });
  if (!answer.ok) throw new Error(`${method} ${path}: ${answer.status} ${await answer.text()}`);
  return answer.text();
};
