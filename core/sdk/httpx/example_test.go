package httpx_test

import (
	"context"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"

	"github.com/stetl/stetl/core/sdk/httpx"
)

// A client that waits and asks again when the target is busy, and keeps to the rate it
// can take. What may have been done already is not sent twice on its own: a POST is
// retried only where the context says that it may be.
func ExampleNewClient() {
	asked := 0
	target := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if asked++; asked == 1 {
			w.Header().Set("Retry-After", "0")
			w.WriteHeader(http.StatusTooManyRequests)
			return
		}
		fmt.Fprint(w, "{}")
	}))
	defer target.Close()

	client := httpx.NewClient(httpx.Options{UserAgent: "stetl-plugin-acme/1.0.0", MaxInFlight: 8, Rate: 50})
	request, err := http.NewRequestWithContext(context.Background(), http.MethodGet, target.URL+"/users?email=ada@example.org", nil)
	if err != nil {
		log.Fatal(err)
	}
	response, err := client.Do(request)
	if err != nil {
		log.Print(httpx.Redact(err)) // an address can hold what is personal
		return
	}
	defer func() { _ = response.Body.Close() }()
	fmt.Println(response.Status, "after", asked, "requests")
	// Output: 200 OK after 2 requests
}
