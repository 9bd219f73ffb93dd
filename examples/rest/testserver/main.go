// Command testserver runs Acme, the made-up identity provider. With arguments, it runs
// them as a command that finds the server in ACME_URL and a token in ACME_TOKEN, and
// ends with it; without, it runs until it is stopped.
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"os/exec"
	"time"

	"github.com/stetl/stetl/examples/rest/idp"
)

func main() {
	listen := flag.String("listen", "127.0.0.1:0", "address to listen on")
	token := flag.String("token", "secret-token", "token that clients must show")
	flag.Parse()
	lis, err := new(net.ListenConfig).Listen(context.Background(), "tcp", *listen)
	if err != nil {
		log.Fatal(err)
	}
	address := "http://" + lis.Addr().String()
	server := &http.Server{Handler: idp.New(*token), ReadHeaderTimeout: 10 * time.Second}
	if flag.NArg() == 0 {
		fmt.Fprintf(os.Stdout, "Acme listens on %s\n", address)
		log.Fatal(server.Serve(lis))
	}
	go func() { log.Fatal(server.Serve(lis)) }()
	cmd := exec.CommandContext(context.Background(), flag.Arg(0), flag.Args()[1:]...) //nolint:gosec // whoever starts this chooses
	cmd.Env = append(os.Environ(), "ACME_URL="+address, "ACME_TOKEN="+*token)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	if err := cmd.Run(); err != nil {
		log.Fatalf("%s: %v", flag.Arg(0), err)
	}
}
