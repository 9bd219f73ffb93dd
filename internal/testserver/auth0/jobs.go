package auth0

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"time"
)

// maxContent is the largest request that the import endpoint takes.
const maxContent = 512_000

type job struct {
	id, externalID string
	upsert, mail   bool
	raw            []byte
	size           int // of the request
	created, ends  time.Time
	failure        Failure
	done           bool
	status         string
	summary        map[string]int
	errors         []map[string]any
	details        string
	// users are those of the file, each with its problems, known once checked is closed:
	// a tenant looks at users while a job runs, not when somebody asks for it.
	users   []checkedUser
	broken  bool // the file is no array
	checked chan struct{}
}

type checkedUser struct {
	raw      json.RawMessage
	in       importedUser
	problems []map[string]any
}

func (s importer) check(j *job) {
	defer close(j.checked)
	var users []json.RawMessage
	j.broken = json.Unmarshal(j.raw, &users) != nil
	for _, raw := range users {
		u := checkedUser{raw: raw, problems: s.validate(raw)}
		if err := json.Unmarshal(raw, &u.in); err != nil && u.problems == nil {
			u.problems = problem("INVALID_TYPE", "", err.Error())
		}
		j.users = append(j.users, u)
	}
}

// Job is what a test may look at.
type Job struct {
	ID, ExternalID       string
	Upsert, Mail         bool
	Users, Size          int
	Created, Ends        time.Time
	Status               string
	Inserted, FailedUser int
	Raw                  []byte
}

// Jobs lists the import jobs in order.
func (s *Server) Jobs() (out []Job) {
	s.mu.Lock()
	defer s.mu.Unlock()
	jobDesk{s}.advance(time.Now())
	for _, j := range s.order {
		out = append(out, Job{
			ID: j.id, ExternalID: j.externalID, Upsert: j.upsert, Mail: j.mail, Users: count(j.raw), Size: j.size,
			Created: j.created, Ends: j.ends, Status: j.status, Inserted: j.summary["inserted"], FailedUser: j.summary["failed"], Raw: j.raw,
		})
	}
	return out
}

func count(raw []byte) int {
	var users []json.RawMessage
	_ = json.Unmarshal(raw, &users)
	return len(users)
}

type router func(pattern, scopes string, f func(http.ResponseWriter, *http.Request))

func (s jobDesk) jobRoutes(api router) {
	api("POST /jobs/users-imports", "create:users", importer(s).importUsers)
	api("POST /jobs/users-exports", "read:users", s.exportUsers)
	api("GET /jobs/{id}", "create:users|read:users", s.readJob)
	api("GET /jobs/{id}/errors", "create:users|read:users", s.readErrors)
}

var connectionID = regexp.MustCompile(`^con_[A-Za-z0-9]{16}$`)

func (s importer) importUsers(w http.ResponseWriter, r *http.Request) {
	if r.ContentLength > maxContent {
		refuse(w, 413, "", fmt.Sprintf("Payload content length greater than maximum allowed: %d", maxContent))
		return
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, maxContent+1))
	if err != nil || len(body) > maxContent {
		refuse(w, 413, "", fmt.Sprintf("Payload content length greater than maximum allowed: %d", maxContent))
		return
	}
	s.imports++
	var failure Failure
	if s.options.Fails != nil {
		failure = s.options.Fails(s.imports)
	}
	switch failure {
	case TooLarge:
		refuse(w, 413, "", fmt.Sprintf("Payload content length greater than maximum allowed: %d", maxContent))
		return
	case Broken:
		w.WriteHeader(http.StatusBadGateway)
		return
	default: // goes wrong later
	}
	active := 0
	for _, j := range s.order {
		if !j.done {
			active++
		}
	}
	if active >= 2 || failure == Busy {
		refuse(w, 429, "", "There are 2 active import users jobs, please wait until some of them are finished and try again")
		return
	}
	j, problem := s.parseImport(r.Header.Get("Content-Type"), body)
	if problem != "" {
		code := ""
		if strings.Contains(problem, "pattern") {
			code = "invalid_body"
		}
		refuse(w, 400, code, problem)
		return
	}
	if s.options.Connection.Strategy != "auth0" {
		refuse(w, 400, "operation_not_supported", "Connection must be a database connection")
		return
	}
	now := time.Now()
	j.id, j.created, j.size, j.failure, j.status = newID("job_"), now, len(body), failure, "pending"
	j.ends = now.Add(s.options.JobTime(count(j.raw)))
	s.jobs[j.id], s.order = j, append(s.order, j)
	j.checked = make(chan struct{})
	go s.check(j)
	s.active = max(s.active, active+1)
	answer := map[string]any{
		"type": "users_import", "status": "pending", "connection_id": s.options.Connection.ID, "connection": s.options.Connection.Name,
		"created_at": now.UTC().Format(time.RFC3339Nano), "id": j.id,
	}
	if j.externalID != "" {
		answer["external_id"] = j.externalID
	}
	s.log("sapi", "Create import users job", map[string]any{"request": map[string]any{"body": map[string]any{"external_id": j.externalID}}, "response": map[string]any{"body": answer}})
	if failure == Dropped {
		drop(w)
		return
	}
	reply(w, 202, answer)
}

// drop breaks the connection instead of answering.
func drop(w http.ResponseWriter) {
	if conn, _, err := http.NewResponseController(w).Hijack(); err == nil {
		_ = conn.Close()
	}
}

func (s importer) parseImport(contentType string, body []byte) (*job, string) {
	kind, params, err := mime.ParseMediaType(contentType)
	if err != nil || kind != "multipart/form-data" {
		return nil, "Invalid multipart payload format"
	}
	j := &job{mail: true}
	reader := multipart.NewReader(bytes.NewReader(body), params["boundary"])
	var id *string
	found := false
	for {
		part, err := reader.NextRawPart()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, "Invalid multipart payload format"
		}
		content, err := io.ReadAll(part)
		if err != nil {
			return nil, "Invalid multipart payload format"
		}
		value := string(content)
		switch part.FormName() {
		case "users":
			if part.FileName() == "" {
				continue
			}
			j.raw, found = content, true
		case "connection_id":
			id = &value
		case "upsert":
			j.upsert = value == "true"
		case "external_id":
			j.externalID = value
		case "send_completion_email":
			j.mail = value != "false"
		}
	}
	c := s.options.Connection
	switch {
	case !found:
		return nil, "Must provide 'users' file as multipart part."
	case len(j.raw) == 0:
		return nil, "Users file is empty"
	case id == nil:
		return nil, "connection_id is missing"
	case !connectionID.MatchString(*id):
		return nil, "Payload validation error: 'String does not match pattern ^con_[A-Za-z0-9]{16}$'"
	case *id != c.ID:
		return nil, "The connection does not exist"
	case c.Disabled:
		return nil, "Connection must be enabled"
	case c.CustomDatabase && !c.ImportMode:
		return nil, "Connection must have import mode enabled"
	}
	return j, ""
}

// advance ends jobs whose time has come.
func (s jobDesk) advance(now time.Time) {
	for _, j := range s.order {
		if !j.done && !now.Before(j.ends) {
			importer(s).finish(j)
		}
	}
}

func (s importer) finish(j *job) {
	j.done = true
	<-j.checked
	users := j.users
	switch {
	case j.broken, j.failure == Unparsed, j.failure == Explained:
		j.status = "failed"
		if j.failure == Explained {
			j.details = "Failed to parse users file JSON when importing users. Make sure it is valid JSON."
		}
		return
	case j.failure == TimedOut:
		j.status, users = "failed", users[:len(users)/2]
	default:
		j.status = "completed"
	}
	sum := map[string]int{"failed": 0, "updated": 0, "inserted": 0, "total": len(users)}
	seen, index := map[string]bool{}, s.index()
	for i := range users {
		what, errs := "failed", users[i].problems
		if errs == nil {
			what, errs = s.importOne(users[i].in, j.upsert, seen, index)
		}
		sum[what]++
		if len(errs) > 0 {
			j.errors = append(j.errors, map[string]any{"user": masked(users[i].raw), "errors": errs})
		}
	}
	if j.status == "completed" {
		j.summary = sum
	}
}

func masked(raw json.RawMessage) any {
	var u map[string]any
	if json.Unmarshal(raw, &u) != nil {
		return nil
	}
	if c, ok := u["custom_password_hash"].(map[string]any); ok {
		if h, ok := c["hash"].(map[string]any); ok {
			h["value"] = "*****"
		}
	}
	if _, ok := u["password_hash"]; ok {
		u["password_hash"] = "*****"
	}
	return u
}

func (s jobDesk) readJob(w http.ResponseWriter, r *http.Request) {
	id := r.PathValue("id")
	if e, ok := s.exports[id]; ok {
		s.readExport(w, e)
		return
	}
	j, ok := s.jobs[id]
	if !ok || (j.failure == Vanished && j.done) {
		refuse(w, 404, "inexistent_job", "Job not found")
		return
	}
	body := map[string]any{
		"type": "users_import", "status": j.status, "connection_id": s.options.Connection.ID, "connection": s.options.Connection.Name,
		"created_at": j.created.UTC().Format(time.RFC3339Nano), "id": j.id,
	}
	if j.externalID != "" {
		body["external_id"] = j.externalID
	}
	if !j.done && s.options.Processing {
		body["status"], body["percentage_done"], body["time_left_seconds"] = "processing", 42, 1
	}
	if !j.done && s.options.Status != "" {
		body["status"] = s.options.Status
	}
	if j.summary != nil {
		body["summary"] = j.summary
	}
	reply(w, 200, body)
}

func (s jobDesk) readErrors(w http.ResponseWriter, r *http.Request) {
	j, ok := s.jobs[r.PathValue("id")]
	switch {
	case !ok || (j.failure == Vanished && j.done):
		refuse(w, 404, "inexistent_job", "Job not found")
	case j.details != "":
		reply(w, 200, map[string]any{"type": "users_import", "status": j.status, "id": j.id, "status_details": j.details})
	case len(j.errors) == 0:
		w.WriteHeader(http.StatusNoContent)
	default:
		reply(w, 200, j.errors)
	}
}

type export struct {
	id      string
	lines   []byte
	links   map[string]time.Time
	created time.Time
}

func (s jobDesk) exportUsers(w http.ResponseWriter, r *http.Request) {
	var body struct {
		ConnectionID string `json:"connection_id"`
		Format       string `json:"format"`
		Limit        int    `json:"limit"`
		Fields       []struct {
			Name     string `json:"name"`
			ExportAs string `json:"export_as"`
		} `json:"fields"`
	}
	if !decode(w, r, &body) {
		return
	}
	if body.ConnectionID != "" && body.ConnectionID != s.options.Connection.ID {
		refuse(w, 400, "", "The connection does not exist")
		return
	}
	var names []string
	for _, f := range body.Fields {
		names = append(names, f.Name)
	}
	var b bytes.Buffer
	for _, u := range s.users {
		if body.ConnectionID != "" && u.Connection != s.options.Connection.Name {
			continue
		}
		all := people(s).render(u)
		line := map[string]any{}
		for key, value := range all {
			if len(names) == 0 || slices.Contains(names, key) {
				line[key] = value
			}
		}
		_ = json.NewEncoder(&b).Encode(line)
	}
	e := &export{id: newID("job_"), lines: b.Bytes(), links: map[string]time.Time{}, created: time.Now()}
	s.exports[e.id] = e
	reply(w, 200, map[string]any{"type": "users_export", "status": "pending", "id": e.id, "format": "json", "created_at": e.created.UTC().Format(time.RFC3339Nano)})
}

func (s jobDesk) readExport(w http.ResponseWriter, e *export) {
	body := map[string]any{"type": "users_export", "id": e.id, "format": "json", "status": "pending", "created_at": e.created.UTC().Format(time.RFC3339Nano)}
	if time.Since(e.created) > 5*time.Millisecond {
		link := newID("")
		e.links[link] = time.Now().Add(s.options.ExportLife)
		body["status"], body["location"] = "completed", s.URL+"/exports/"+e.id+"?key="+link
	}
	reply(w, 200, body)
}

// download is the storage behind export links: it knows no tokens.
func (s jobDesk) download(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e, ok := s.exports[r.PathValue("id")]
	switch {
	case r.Header.Get("Authorization") != "":
		http.Error(w, "Only one auth mechanism allowed", http.StatusBadRequest)
	case !ok || time.Now().After(e.links[r.URL.Query().Get("key")]):
		http.Error(w, "Request has expired", http.StatusForbidden)
	case s.torn < s.options.TornDownloads:
		s.torn++
		w.Header().Set("Content-Length", "1000000")
		_, _ = w.Write([]byte{0x1f, 0x8b})
		drop(w)
	default:
		zip := gzip.NewWriter(w)
		_, _ = zip.Write(e.lines)
		_ = zip.Close()
	}
}
