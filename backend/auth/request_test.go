package auth

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestFromRequest(t *testing.T) {
	full := strings.Repeat("a", MaxToken)
	for name, c := range map[string]struct {
		authorization []string
		protocols     []string
		query         string
		allow         bool
		want          string
	}{
		"nothing":                    {},
		"header":                     {authorization: []string{"Bearer tok.en-_~+/=="}, want: "tok.en-_~+/=="},
		"lower case":                 {authorization: []string{"bearer t"}, want: "t"},
		"upper case":                 {authorization: []string{"BEARER t"}, want: "t"},
		"wide gap":                   {authorization: []string{" \tBearer \t  t \t"}, want: "t"},
		"no token":                   {authorization: []string{"Bearer"}},
		"blank token":                {authorization: []string{"Bearer   "}},
		"glued":                      {authorization: []string{"Bearert"}},
		"colon":                      {authorization: []string{"Bearer: t"}},
		"two words":                  {authorization: []string{"Bearer a b"}},
		"a list":                     {authorization: []string{"Bearer a, Bearer b"}},
		"quoted":                     {authorization: []string{`Bearer "a"`}},
		"not ASCII":                  {authorization: []string{"Bearer ä"}},
		"control character":          {authorization: []string{"Bearer a\x00"}},
		"two lines":                  {authorization: []string{"Bearer a", "Bearer b"}},
		"two lines, the same":        {authorization: []string{"Bearer a", "bearer a"}},
		"beside another scheme":      {authorization: []string{"Basic eDp5", "Bearer a"}, want: "a"},
		"another scheme":             {authorization: []string{"Basic eDp5"}},
		"empty lines":                {authorization: []string{"", "Bearer a", " "}, want: "a"},
		"8 KiB":                      {authorization: []string{"Bearer " + full}, want: full},
		"beyond 8 KiB":               {authorization: []string{"Bearer " + full + "a"}},
		"protocol":                   {protocols: []string{"streamer.v1, streamer.bearer.a.b.c"}, want: "a.b.c"},
		"protocol first":             {protocols: []string{"streamer.bearer.t,streamer.v1"}, want: "t"},
		"protocols in lines":         {protocols: []string{"streamer.v1", "streamer.v1.1,\t streamer.bearer.t ,"}, want: "t"},
		"protocols know their case":  {protocols: []string{"Streamer.Bearer.t"}},
		"protocol without token":     {protocols: []string{"streamer.bearer."}},
		"protocol twice":             {protocols: []string{"streamer.bearer.a, streamer.bearer.b"}},
		"protocol twice, two lines":  {protocols: []string{"streamer.bearer.a", "streamer.bearer.a"}},
		"protocol with a gap":        {protocols: []string{"streamer.bearer. t"}},
		"protocol, 8 KiB":            {protocols: []string{"streamer.v1, streamer.bearer." + full}, want: full},
		"protocol, beyond 8 KiB":     {protocols: []string{"streamer.bearer." + full + "a"}},
		"protocols without end":      {protocols: []string{strings.Repeat("x,", MaxToken), "streamer.bearer.t"}, query: "access_token=q", allow: true},
		"header wins":                {authorization: []string{"Bearer h"}, protocols: []string{"streamer.bearer.p"}, query: "access_token=q", allow: true, want: "h"},
		"bad header wins":            {authorization: []string{"Bearer"}, protocols: []string{"streamer.bearer.p"}, query: "access_token=q", allow: true},
		"a proxy's header does not":  {authorization: []string{"Basic eDp5"}, protocols: []string{"streamer.bearer.p"}, want: "p"},
		"protocol before query":      {protocols: []string{"streamer.bearer.p"}, query: "access_token=q", allow: true, want: "p"},
		"bad protocol before query":  {protocols: []string{"streamer.bearer."}, query: "access_token=q", allow: true},
		"query off":                  {query: "access_token=q"},
		"query on":                   {query: "a=b&access_token=q.r.s", allow: true, want: "q.r.s"},
		"query empty":                {query: "access_token=", allow: true},
		"query twice":                {query: "access_token=a&access_token=b", allow: true},
		"query of another case":      {query: "Access_Token=a", allow: true},
		"query beyond 8 KiB":         {query: "access_token=" + full + "a", allow: true},
		"query escapes":              {query: "access_token=a%0Ab", allow: true},
		"header under another name":  {query: "authorization=Bearer+a", allow: true},
		"version alone is no bearer": {protocols: []string{"streamer.v1", "streamer.bearer"}},
	} {
		t.Run(name, func(t *testing.T) {
			r := httptest.NewRequest(http.MethodGet, "/?"+c.query, nil)
			r.Header["Authorization"] = c.authorization
			r.Header["Sec-Websocket-Protocol"] = c.protocols
			token, ok := FromRequest(r, c.allow)
			require.Equal(t, c.want != "", ok)
			if ok {
				require.Equal(t, c.want, token)
			}
		})
	}
}

// TestFromRequestOverHTTP: the same after a real server has read the header.
func TestFromRequestOverHTTP(t *testing.T) {
	got := make(chan string, 1)
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		token, _ := FromRequest(r, false)
		got <- token
	}))
	defer server.Close()
	for _, header := range []http.Header{
		{"authorization": {"  bearer   t"}},
		{"sec-websocket-protocol": {"streamer.v1", "streamer.bearer.t"}},
	} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL, nil)
		require.NoError(t, err)
		r.Header = header
		resp, err := server.Client().Do(r)
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
		require.Equal(t, "t", <-got)
	}
}
