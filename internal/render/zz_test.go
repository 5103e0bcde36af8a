package render
import ("testing";"runtime";"strings";"strconv";"plumb.dev/plumb/internal/model";"context";"time")
func TestZZ(t *testing.T){
 tree:=memory{}
 for i:=range 500{ for p,c:=range small(){ tree["apps/"+strconv.Itoa(i)+strings.TrimPrefix(p,"apps/a")]=c } }
 idx:=map[string]memory{}
 for i:=range 500{ m:=memory{}; for p,c:=range small(){ m["apps/"+strconv.Itoa(i)+strings.TrimPrefix(p,"apps/a")]=c }; idx[strconv.Itoa(i)]=m }
 memo:=NewMemo(64<<20)
 var a,b runtime.MemStats
 runtime.GC(); runtime.ReadMemStats(&a)
 s:=time.Now()
 for i:=range 500{ d:="apps/"+strconv.Itoa(i); memo.Render(context.Background(),KeyOf(d,model.KustomizeOptions{},Limits{}),model.Origin{},idx[strconv.Itoa(i)],func(r *Recorder)(*model.Manifest,error){return Kustomize(context.Background(),r,d,model.KustomizeOptions{},model.Origin{},Limits{})})}
 el:=time.Since(s)
 runtime.GC(); runtime.ReadMemStats(&b)
 t.Logf("500 renders %v, heap +%.1f MiB, memo says %.1f MiB",el,float64(b.HeapAlloc-a.HeapAlloc)/(1<<20),float64(memo.Bytes())/(1<<20))
}
