// Package script runs the health scripts that users bring for Argo CD: Lua that
// reads the global obj and returns a table with status and message.
//
// Whoever writes a script or an object must not be able to harm the process
// that judges it. A script therefore runs in a box: it reaches neither files,
// processes, the environment nor the network, its instructions are counted, and
// what it may allocate is metered. The interpreter (gopher-lua) counts
// instructions but not memory, so that [Compile] rewrites the syntax tree where
// one instruction could allocate without limit (joining strings, assigning to
// far indexes), and the string and table libraries are written here, metered.
// Coroutines, debugging and loading of further code do not exist in the box.
package script
