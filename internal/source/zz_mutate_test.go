package source
import ("testing";"math/rand";"time";"bytes";"context";"archive/tar";"github.com/go-git/go-git/v5/plumbing")
func TestZZMutate(t *testing.T){
 seeds:=[][]byte{archivedPlain(t),sparse(3,900)}
 limits := Limits{Files: 50, Depth: 8, FileBytes: 4 << 10, ArchiveBytes: 64 << 10, FetchBytes: 1 << 20}.withDefaults()
 end:=time.Now().Add(40*time.Second); n,ok:=0,0
 for time.Now().Before(end){ n++
  c:=bytes.Clone(seeds[rand.Intn(len(seeds))])
  for range rand.Intn(6){ c[rand.Intn(len(c))]=byte(rand.Intn(256)) }
  if rand.Intn(2)==0 { fix(c) }
  for _,chart:=range []bool{true,false}{
  log := &objects{file: &memoryFile{}, index: map[plumbing.Hash]place{}}
  var root plumbing.Hash
  _, err := log.extend(func(b *batch) error {
   s := newStock(context.Background(), limits, b)
   err := unpack(context.Background(), bytes.NewReader(c), limits, unpacking{chart: chart}, s.add)
   if err == nil { root, err = s.write() }
   return err })
  if err!=nil {continue}
  ok++
  b := &builder{ctx: context.Background(), limits: Limits{Files: 1000, Depth: 10}}
  if _, err := b.dir(nil, &raw{repo: &depot{}, log: log, git: root}, nil, everything, true, nil); err!=nil {t.Fatalf("%v %q",err,c)}
 }}
 t.Log(n,ok)
}
func fix(c []byte){ for at:=0;at+512<=len(c);at+=512 { h:=c[at:at+512]; if !bytes.Contains(h[250:270],[]byte("ustar")){continue}; copy(h[148:],"        "); s:=0; for _,x:=range h{s+=int(x)}; copy(h[148:], []byte{byte('0'+s>>15&7),byte('0'+s>>12&7),byte('0'+s>>9&7),byte('0'+s>>6&7),byte('0'+s>>3&7),byte('0'+s&7),0,' '}) } }
func archivedPlain(t *testing.T)[]byte{ var out bytes.Buffer; w:=tar.NewWriter(&out); for _,e:=range []entry{{name:"web/Chart.yaml",content:"abc"},{name:"./a/b/../c",content:"x"},{name:"d/",typ:tar.TypeDir},{name:"l",typ:tar.TypeSymlink,link:"/x"},{name:"web/"+string(bytes.Repeat([]byte("n"),200)),content:"y"}}{ h:=&tar.Header{Name:e.name,Typeflag:e.typ,Linkname:e.link,Size:int64(len(e.content)),Mode:0o644}; if e.typ==0{h.Typeflag=tar.TypeReg}; w.WriteHeader(h); w.Write([]byte(e.content))}; w.Close(); return out.Bytes()}
