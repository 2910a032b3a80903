// The function that the tests run with Lambda's Go runtime client: it does what its event says.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"

	"github.com/aws/aws-lambda-go/lambda"
	"github.com/aws/aws-lambda-go/lambdacontext"
)

const greeting = "Grüße, 世界 🙂\x00\x7f"

type event struct {
	Do       string   `json:"do"`
	Bytes    int      `json:"bytes"`
	Message  string   `json:"message"`
	Keys     []string `json:"keys"`
	Value    string   `json:"value"`
	Attempts []string `json:"attempts"`
}

// handler gets and gives raw bytes: nothing of the event is parsed for it, and nothing of the response is written for it.
type handler struct{}

func (handler) Invoke(ctx context.Context, payload []byte) ([]byte, error) {
	var order event
	// What is no order is echoed.
	_ = json.Unmarshal(payload, &order)
	switch order.Do {
	case "context":
		return seen(ctx)
	case "large":
		return []byte(`"` + strings.Repeat("x", order.Bytes-2) + `"`), nil
	case "unicode":
		return json.Marshal(greeting)
	case "binary":
		return every(), nil
	case "error":
		return nil, errors.New(order.Message)
	case "write":
		return write(order)
	}
	return bytes.Clone(payload), nil
}

func every() []byte {
	all := make([]byte, 256)
	for index := range all {
		all[index] = byte(index)
	}
	return all
}

func seen(ctx context.Context) ([]byte, error) {
	told, _ := lambdacontext.FromContext(ctx)
	deadline, _ := ctx.Deadline()
	return json.Marshal(map[string]any{
		"request":  told.AwsRequestID,
		"deadline": deadline.UnixMilli(),
		"arn":      told.InvokedFunctionArn,
		"trace":    os.Getenv("_X_AMZN_TRACE_ID"),
		"client":   told.ClientContext,
		"identity": told.Identity,
		"tenant":   told.TenantID,
	})
}

// write puts two keys, and ends this attempt as the event wants it ended.
func write(order event) ([]byte, error) {
	answer, err := aft(http.MethodGet, "transaction", "")
	if err != nil {
		return nil, err
	}
	var transaction struct{ Attempt int }
	if err := json.Unmarshal(answer, &transaction); err != nil {
		return nil, err
	}
	for _, key := range order.Keys {
		if _, err := aft(http.MethodPut, "kv/"+key, fmt.Sprintf("%s %d", order.Value, transaction.Attempt)); err != nil {
			return nil, err
		}
	}
	switch order.Attempts[transaction.Attempt-1] {
	case "error":
		return nil, fmt.Errorf("attempt %d: %s", transaction.Attempt, order.Value)
	case "exit":
		os.Exit(3)
	case "panic":
		panic(order.Value)
	}
	return json.Marshal(map[string]int{"attempt": transaction.Attempt})
}

func aft(method, path, body string) ([]byte, error) {
	request, err := http.NewRequest(method, os.Getenv("AFT_ENDPOINT")+"/v1/"+path, strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	request.Header.Set("X-Aft-Token", os.Getenv("AFT_TOKEN"))
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err == nil && answer.StatusCode >= 300 {
		err = fmt.Errorf("%s %s: %s %s", method, path, answer.Status, text)
	}
	return text, err
}

func main() {
	lambda.StartHandler(handler{})
}
