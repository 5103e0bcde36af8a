package render

import (
	"path/filepath"
	"sync"
	"testing"
)

// Builds at the same time, with and without a schema of their own, give what
// they give one after the other. It is worth most under the race detector.
func TestParallelBuilds(t *testing.T) {
	files, err := filepath.Glob("testdata/kustomize/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no stories: %v", err)
	}
	type told struct {
		story story
		tree  memory
		want  string
	}
	var stories []told
	for _, file := range files {
		s, tree := readStory(t, file)
		want, _ := outcome(s, tree)
		stories = append(stories, told{s, tree, want})
	}
	var wait sync.WaitGroup
	for range 4 {
		for _, one := range stories {
			wait.Go(func() {
				if got, _ := outcome(one.story, one.tree); got != one.want {
					t.Errorf("got %s\nwant %s", got, one.want)
				}
			})
		}
	}
	wait.Wait()
}
