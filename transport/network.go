package transport

import (
	"context"
	"net"
	"time"
)

// Network makes connections. Deadlines of its connections must work, and a
// cancelled context must end Dial.
type Network interface {
	Dial(ctx context.Context, addr string) (net.Conn, error)
	Listen(addr string) (net.Listener, error)
}

// keepAlive finds connections whose peer vanished while no session watches
// them, that is during a handshake that lost its other half.
const keepAlive = 15 * time.Second

// TCP is the real network; addresses are host:port.
func TCP() Network { return tcpNetwork{} }

type tcpNetwork struct{}

func (tcpNetwork) Dial(ctx context.Context, addr string) (net.Conn, error) {
	dialer := net.Dialer{KeepAlive: keepAlive}
	return dialer.DialContext(ctx, "tcp", addr)
}

func (tcpNetwork) Listen(addr string) (net.Listener, error) {
	return (&net.ListenConfig{KeepAlive: keepAlive}).Listen(context.Background(), "tcp", addr)
}
