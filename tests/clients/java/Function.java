import com.amazonaws.lambda.thirdparty.com.google.gson.Gson;
import com.amazonaws.lambda.thirdparty.com.google.gson.GsonBuilder;
import com.amazonaws.lambda.thirdparty.com.google.gson.JsonParseException;
import com.amazonaws.services.lambda.runtime.Context;
import com.amazonaws.services.lambda.runtime.RequestStreamHandler;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpRequest.BodyPublishers;
import java.net.http.HttpResponse;
import java.net.http.HttpResponse.BodyHandlers;
import java.nio.charset.StandardCharsets;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * The function that the tests run with Lambda's Java runtime client: it does what its event says. It gets and gives raw
 * bytes; Gson is the one that the client brings along.
 */
public final class Function implements RequestStreamHandler {
  private static final String GREETING = "Grüße, 世界 🙂\u0000\u007f";
  private static final Gson JSON = new GsonBuilder().disableHtmlEscaping().create();
  private static final HttpClient CLIENT = HttpClient.newBuilder().version(HttpClient.Version.HTTP_1_1).build();

  private static final class Event {
    String action;
    int bytes;
    String message;
    List<String> keys;
    String value;
    List<String> attempts;
  }

  @Override
  public void handleRequest(InputStream input, OutputStream output, Context context) throws IOException {
    byte[] payload = input.readAllBytes();
    output.write(answer(payload, context));
  }

  private static byte[] answer(byte[] payload, Context context) throws IOException {
    Event event = order(payload);
    switch (event.action) {
      case "context":
        return json(seen(context));
      case "large":
        return ("\"" + "x".repeat(event.bytes - 2) + "\"").getBytes(StandardCharsets.UTF_8);
      case "unicode":
        return json(GREETING);
      case "binary":
        return every();
      case "error":
        throw new IllegalStateException(event.message);
      case "write":
        return write(event);
      default:
        return payload;
    }
  }

  /** What is no order is echoed. */
  private static Event order(byte[] payload) {
    Event event = null;
    try {
      // "do" is no name in Java.
      String text = new String(payload, StandardCharsets.UTF_8).replaceFirst("\"do\"", "\"action\"");
      event = text.startsWith("{\"action\"") ? JSON.fromJson(text, Event.class) : null;
    } catch (JsonParseException notAnOrder) {
      event = null;
    }
    if (event == null) {
      event = new Event();
    }
    event.action = event.action == null ? "" : event.action;
    return event;
  }

  private static byte[] every() {
    byte[] all = new byte[256];
    for (int index = 0; index < all.length; index++) {
      all[index] = (byte) index;
    }
    return all;
  }

  private static Map<String, Object> seen(Context context) {
    Map<String, Object> told = new LinkedHashMap<>();
    told.put("request", context.getAwsRequestId());
    told.put("deadline", deadline(context));
    told.put("arn", context.getInvokedFunctionArn());
    told.put("trace", context.getXrayTraceId());
    told.put("property", System.getProperty("com.amazonaws.xray.traceHeader"));
    told.put("tenant", context.getTenantId());
    if (context.getClientContext() != null) {
      told.put("custom", context.getClientContext().getCustom());
      told.put("environment", context.getClientContext().getEnvironment());
      told.put("title", context.getClientContext().getClient().getAppTitle());
    }
    if (context.getIdentity() != null) {
      told.put("identity", context.getIdentity().getIdentityId());
      told.put("pool", context.getIdentity().getIdentityPoolId());
    }
    return told;
  }

  /** The context only tells what is left: asked for until the clock does not tick meanwhile. */
  private static long deadline(Context context) {
    while (true) {
      long now = System.currentTimeMillis();
      int left = context.getRemainingTimeInMillis();
      if (System.currentTimeMillis() == now) {
        return now + left;
      }
    }
  }

  /** Writes two keys, and ends this attempt as the event wants it ended. */
  private static byte[] write(Event event) throws IOException {
    int attempt = ((Double) JSON.fromJson(aft("GET", "transaction", null), Map.class).get("attempt")).intValue();
    for (String key : event.keys) {
      aft("PUT", "kv/" + key, event.value + " " + attempt);
    }
    switch (event.attempts.get(attempt - 1)) {
      case "error":
        throw new IllegalStateException("attempt " + attempt + ": " + event.value);
      case "exit":
        Runtime.getRuntime().halt(3);
        return null;
      case "panic":
        throw new StackOverflowError(event.value);
      default:
        return json(Map.of("attempt", attempt));
    }
  }

  private static String aft(String method, String path, String body) throws IOException {
    HttpRequest request =
        HttpRequest.newBuilder(URI.create(System.getenv("AFT_ENDPOINT") + "/v1/" + path))
            .header("X-Aft-Token", System.getenv("AFT_TOKEN"))
            .method(method, body == null ? BodyPublishers.noBody() : BodyPublishers.ofString(body))
            .build();
    try {
      HttpResponse<String> answer = CLIENT.send(request, BodyHandlers.ofString());
      if (answer.statusCode() >= 300) {
        throw new IOException(method + " " + path + ": " + answer.statusCode() + " " + answer.body());
      }
      return answer.body();
    } catch (InterruptedException error) {
      throw new IOException(error);
    }
  }

  private static byte[] json(Object value) {
    return JSON.toJson(value).getBytes(StandardCharsets.UTF_8);
  }
}
