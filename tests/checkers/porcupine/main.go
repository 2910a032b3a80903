// Feeds Porcupine with histories (docs/histories.md): the paths on standard input, one a line; on standard output one line
// of JSON for each.
//
// Porcupine decides linearizability. The object here is the whole map from keys to versions and an operation is a whole
// transaction, so that a history is accepted if and only if it is strictly serializable. Nothing is taken from the order of
// the versions: they are names.
//
// A transaction whose outcome is unknown, and each write of a read-atomic one, has no end. If a certain transaction read
// it, it happened, some time; if none did, any serial order is one without it, too, so it is left out.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"os"
	"strings"
	"time"

	"github.com/anishathalye/porcupine"
)

// A history that takes longer is undecided, which counts as a failure.
const patience = 10 * time.Second

type read struct {
	Key     string  `json:"key"`
	Version *string `json:"version"`
}

type attempt struct {
	Process     int      `json:"process"`
	Transaction string   `json:"transaction"`
	Attempt     int      `json:"attempt"`
	Outcome     string   `json:"outcome"`
	Isolation   string   `json:"isolation"`
	Began       int64    `json:"began"`
	Ended       int64    `json:"ended"`
	Reads       []read   `json:"reads"`
	Writes      []string `json:"writes"`
	Version     *string  `json:"version"`
	// What it did by itself: nothing that others can see.
	Steps json.RawMessage `json:"steps"`
}

// What happens at one instant.
type operation struct {
	name    string
	process int
	began   int64
	ended   int64 // 0: it may take place at any time after it began
	certain bool
	reads   []read
	writes  []string
	version string
}

type verdict struct {
	File         string   `json:"file"`
	Verdict      string   `json:"verdict"`
	Reason       string   `json:"reason"`
	Transactions []string `json:"transactions"`
}

func main() {
	paths := bufio.NewScanner(os.Stdin)
	answers := json.NewEncoder(os.Stdout)
	for paths.Scan() {
		operations, err := load(paths.Text())
		if err == nil {
			answer := check(happened(operations))
			answer.File = paths.Text()
			err = answers.Encode(answer)
		}
		if err != nil {
			fmt.Fprintf(os.Stderr, "%s: %v\n", paths.Text(), err)
			os.Exit(1)
		}
	}
	if err := paths.Err(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func load(path string) ([]operation, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var operations []operation
	for number, line := range strings.Split(strings.TrimSpace(string(text)), "\n") {
		var a attempt
		decoder := json.NewDecoder(strings.NewReader(line))
		decoder.DisallowUnknownFields()
		if err := decoder.Decode(&a); err != nil {
			return nil, fmt.Errorf("line %d: %w", number+1, err)
		}
		more, err := a.operations()
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", number+1, err)
		}
		operations = append(operations, more...)
	}
	return operations, nil
}

func (a attempt) operations() ([]operation, error) {
	whole := operation{
		name: fmt.Sprintf("%s#%d@%d", a.Transaction, a.Attempt, a.Process), process: a.Process, began: a.Began, ended: a.Ended,
		certain: true, reads: a.Reads, writes: a.Writes,
	}
	if a.Version != nil {
		whole.version = *a.Version
	}
	switch {
	case a.Outcome == "aborted":
		return nil, nil
	case a.Outcome == "unknown" && a.Version == nil:
		return nil, nil
	case a.Outcome == "unknown":
		whole.ended, whole.certain = 0, false
	case a.Outcome != "committed":
		return nil, fmt.Errorf("no outcome: %q", a.Outcome)
	case len(a.Writes) > 0 && a.Version == nil:
		return nil, fmt.Errorf("%s wrote and has no version", whole.name)
	}
	switch a.Isolation {
	case "serializable":
		return []operation{whole}, nil
	case "read-atomic":
		var each []operation
		for _, key := range a.Writes {
			each = append(each, operation{
				name: whole.name, process: a.Process, began: a.Began, writes: []string{key}, version: whole.version,
			})
		}
		return each, nil
	default:
		return nil, fmt.Errorf("no isolation: %q", a.Isolation)
	}
}

// Those that happened: the certain ones, and what they read, and what that read.
func happened(all []operation) []operation {
	type written struct{ key, version string }
	writers := map[written]int{}
	for i, op := range all {
		for _, key := range op.writes {
			writers[written{key, op.version}] = i
		}
	}
	seen := make([]bool, len(all))
	var see func(int)
	see = func(i int) {
		if seen[i] {
			return
		}
		seen[i] = true
		for _, r := range all[i].reads {
			if r.Version != nil {
				if writer, ok := writers[written{r.Key, *r.Version}]; ok {
					see(writer)
				}
			}
		}
	}
	for i, op := range all {
		if op.certain {
			see(i)
		}
	}
	var result []operation
	for i, op := range all {
		if seen[i] {
			result = append(result, op)
		}
	}
	return result
}

// The state is a text that has two bytes for each key: the number of the operation that wrote it last, from 1.
func check(operations []operation) verdict {
	keys := map[string]int{}
	number := func(key string) int {
		if _, ok := keys[key]; !ok {
			keys[key] = len(keys)
		}
		return 2 * keys[key]
	}
	var end int64
	for _, op := range operations {
		end = max(end, op.began, op.ended)
		for _, r := range op.reads {
			number(r.Key)
		}
		for _, key := range op.writes {
			number(key)
		}
	}
	model := porcupine.Model{
		Init: func() interface{} { return strings.Repeat("\x00", 2*len(keys)) },
		Hash: func(state interface{}) uint64 {
			hash := fnv.New64a()
			hash.Write([]byte(state.(string)))
			return hash.Sum64()
		},
		Step: func(state, input, _ interface{}) (bool, interface{}) {
			now, i := []byte(state.(string)), input.(int)
			for _, r := range operations[i].reads {
				at := number(r.Key)
				writer := int(now[at])<<8 + int(now[at+1])
				switch {
				case writer == 0 && r.Version != nil:
					return false, state
				case writer > 0 && (r.Version == nil || *r.Version != operations[writer-1].version):
					return false, state
				}
			}
			for _, key := range operations[i].writes {
				at := number(key)
				now[at], now[at+1] = byte((i+1)>>8), byte(i+1)
			}
			return true, string(now)
		},
	}
	history := make([]porcupine.Operation, len(operations))
	for i, op := range operations {
		history[i] = porcupine.Operation{ClientId: op.process, Input: i, Call: op.began, Return: op.ended}
		if op.ended == 0 {
			history[i].Return = end + 1
		}
	}
	result, info := porcupine.CheckOperationsVerbose(model, history, patience)
	switch result {
	case porcupine.Ok:
		return verdict{Verdict: "accepted", Transactions: []string{}}
	case porcupine.Illegal:
		return verdict{
			Verdict: "rejected", Reason: "none of these can come next in the longest serial order that was found",
			Transactions: stuck(operations, history, info),
		}
	default:
		return verdict{Verdict: "undecided", Reason: fmt.Sprintf("gave up after %v", patience), Transactions: []string{}}
	}
}

// What could have come next after the longest serial order that Porcupine found, and does not fit.
func stuck(operations []operation, history []porcupine.Operation, info porcupine.LinearizationInfo) []string {
	var longest []porcupine.Operation
	for _, partial := range info.PartialLinearizationsOperations()[0] {
		if len(partial) > len(longest) {
			longest = partial
		}
	}
	placed := map[int]bool{}
	for _, op := range longest {
		placed[op.Input.(int)] = true
	}
	first := int64(-1)
	for i, op := range history {
		if !placed[i] && (first < 0 || op.Return < first) {
			first = op.Return
		}
	}
	names := []string{}
	for i, op := range history {
		if !placed[i] && op.Call <= first {
			names = append(names, operations[i].name)
		}
	}
	return names
}
