package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"time"
)

// settings are the flags.
type settings struct {
	sizes   []int
	plumb   string
	commits int
	drifts  int
	links   int
	rest    time.Duration
	// interval of what is declared: at rest nothing may happen because of it.
	interval time.Duration
	idiom    string
	extra    []string

	flux      string // directory of its controllers; empty: Plumb alone
	fluxFlags []string
	brief     bool
	console   bool // served and measured too
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	s, err := parse(args)
	if err != nil {
		return err
	}
	busy := load()
	var columns []figures
	for _, n := range s.sizes {
		for _, flux := range []bool{false, true} {
			if flux && s.flux == "" {
				continue
			}
			column, err := measure(ctx, s, n, flux)
			if err != nil {
				return fmt.Errorf("n=%d: %w", n, err)
			}
			columns = append(columns, column)
		}
	}
	return table(os.Stdout, s, columns, busy)
}

func parse(args []string) (settings, error) {
	s := settings{}
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	sizes := flags.String("n", "100,500,1000", "numbers of applications, each measured on a cluster of its own")
	flags.StringVar(&s.plumb, "plumb", "bin/plumb", "the binary that is measured")
	flags.IntVar(&s.commits, "commits", 200, "commits to one application; half are sent before the statuses have settled")
	flags.IntVar(&s.drifts, "drifts", 100, "hand edits that are healed")
	flags.IntVar(&s.links, "links", 10, "links of the dependency chain")
	flags.DurationVar(&s.rest, "rest", time.Minute, "how long the engine is watched at rest")
	flags.StringVar(&s.idiom, "dialect", "flux", "declare the applications in the words of flux or argo, or as releases of helm")
	flags.DurationVar(&s.interval, "interval", time.Minute, "interval of what is declared")
	flags.BoolVar(&s.brief, "brief", false, "only measure creation and rest")
	flags.BoolVar(&s.console, "console", false, "serve the console too, and measure its list and its news (dialects flux and helm)")
	flags.StringVar(&s.flux, "flux", "", "a directory with the controllers of Flux, which are measured next to Plumb: creation and rest")
	fluxFlags := flags.String("flux-flags", "", "flags for each controller of Flux, separated by spaces")
	extra := flags.String("controller-flags", "", "flags for plumb controller, separated by spaces")
	if err := flags.Parse(args); err != nil {
		return s, err
	}
	if _, known := idioms[s.idiom]; !known {
		return s, fmt.Errorf("-dialect %q: flux, argo or helm is wanted", s.idiom)
	}
	s.extra, s.fluxFlags = strings.Fields(*extra), strings.Fields(*fluxFlags)
	if s.console && s.idiom == "argo" {
		return s, errors.New("-console: the changes that are measured are those of Flux's objects: flux or helm is wanted")
	}
	if s.flux != "" && idioms[s.idiom].controllers == nil {
		return s, fmt.Errorf("-flux: Flux does not know the dialect %s", s.idiom)
	}
	for part := range strings.SplitSeq(*sizes, ",") {
		n, err := strconv.Atoi(part)
		if err != nil || n < s.links {
			return s, fmt.Errorf("-n %q: numbers of at least %d, separated by commas, are wanted", *sizes, s.links)
		}
		s.sizes = append(s.sizes, n)
	}
	if _, err := os.Stat(s.plumb); err != nil {
		return s, fmt.Errorf("%w: run \"make build\" first", err)
	}
	return s, nil
}
