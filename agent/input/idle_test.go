package input
import ("testing";"time";"syscall";"os")
func TestIdleCPU(t *testing.T){
 h:=newTailing(t); h.writes(h.path,"x\n"); _ = os.Stdout
 running(t, Options{Spec:h.spec(), Sink:&memory{}})
 time.Sleep(300*time.Millisecond)
 var a,b syscall.Rusage
 syscall.Getrusage(0,&a); time.Sleep(5*time.Second); syscall.Getrusage(0,&b)
 d:=time.Duration(b.Utime.Nano()-a.Utime.Nano()+b.Stime.Nano()-a.Stime.Nano())
 t.Logf("cpu %v in 5s = %.2f%%", d, float64(d)/5e7)
}
