package scim

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
)

func (f *fake) bulkRequest(body []byte) (int, any, map[string]string) {
	if f.bulk501 || !f.bulk {
		return 501, failure{501, "", "no Bulk"}, nil
	}
	var in struct {
		Schemas      []string
		FailOnErrors *int
		Operations   []struct {
			Method, Path, BulkID string
			Data                 resource
		}
	}
	if err := json.Unmarshal(body, &in); err != nil || len(in.Schemas) != 1 || in.Schemas[0] != messageBulk {
		return 400, failure{400, "invalidSyntax", "not a bulk request"}, nil
	}
	f.ops = append(f.ops, len(in.Operations))
	if (f.hardOps > 0 && len(in.Operations) > f.hardOps) || (f.maxBytes > leastPayload && len(body) > f.maxBytes) {
		if f.tooManyAs400 {
			return 400, failure{400, "unparseableRequest", "too many operations"}, nil
		}
		return 413, failure{413, "", "limit"}, nil
	}
	if in.FailOnErrors != nil && *in.FailOnErrors == 0 {
		f.t.Error("failOnErrors is 0")
	}
	stop := f.stopAfter
	if in.FailOnErrors != nil {
		stop = *in.FailOnErrors
	}
	var out []resource
	errs := 0
	for i, o := range in.Operations {
		if o.Method != "POST" || o.Path != "/Users" || !regexp.MustCompile(`^\w+$`).MatchString(o.BulkID) {
			return 400, failure{400, "invalidSyntax", "operation"}, nil
		}
		if stop > 0 && errs >= stop || i >= len(in.Operations)-f.shortBy && len(in.Operations) > f.shortBy {
			if f.listSkipped && f.shortBy == 0 {
				out = append(out, resource{"method": "POST", "bulkId": o.BulkID, "status": "412", "response": resource{"detail": "failOnErrors was reached"}})
				continue
			}
			break
		}
		if f.bulkLate && i == len(in.Operations)/2 {
			f.bulkLate = false
			return 400, failure{400, "invalidValue", "an operation is wrong"}, nil
		}
		entry := resource{"method": "POST", "bulkId": o.BulkID}
		if f.quota > 0 && i >= f.quota {
			entry["status"], entry["response"] = "429", resource{"status": "429", "detail": "slow down"}
			out = append(out, entry)
			continue
		}
		id, e := f.insert(o.Data)
		code := 201
		switch {
		case e != nil:
			errs++
			code = e.status
			entry["response"] = resource{"schemas": []string{"urn:ietf:params:scim:api:messages:2.0:Error"}, "status": strconv.Itoa(e.status), "scimType": e.kind, "detail": e.detail}
			if f.noBulkIDOnError {
				delete(entry, "bulkId")
			}
		case f.relativeLocation:
			entry["location"] = "Users/" + url.PathEscape(id)
		case !f.noLocation:
			entry["location"] = f.url + "/Users/" + url.PathEscape(id)
		}
		if f.textAnswer && e == nil && f.users[id] != nil {
			text, _ := json.Marshal(f.show(f.users[id]))
			entry["response"] = string(text)
		}
		switch {
		case f.numberStatus:
			entry["status"] = code
		case f.objectStatus:
			entry["status"] = resource{"code": strconv.Itoa(code)}
		case f.lineStatus:
			entry["status"] = fmt.Sprintf("%d %s", code, http.StatusText(code))
		default:
			entry["status"] = strconv.Itoa(code)
		}
		out = append(out, entry)
	}
	if f.reorder {
		slices.Reverse(out)
	}
	status := 200
	if f.bulkStatus400 && errs > 0 {
		status = 400
	}
	name := "Operations"
	if f.lowerOperations {
		name = "operations"
	}
	return status, resource{"schemas": []string{"urn:ietf:params:scim:api:messages:2.0:BulkResponse"}, name: out}, nil
}

func (f *fake) setMembers(g resource, in, out []string) {
	var list []any
	have := map[string]bool{}
	for _, m := range elements(g["members"]) {
		o, _ := objectOf(m)
		if id := o.text("value"); !slices.Contains(out, id) && !have[id] {
			have[id] = true
			list = append(list, resource{"value": id})
		}
	}
	for _, id := range in {
		if !have[id] {
			have[id] = true
			list = append(list, resource{"value": id})
		}
	}
	delete(g, "members")
	if list != nil {
		g["members"] = list
	}
}

var memberPattern = regexp.MustCompile(`^members\[value eq "(.*)"\]$`)

func (f *fake) patch(held resource, body []byte, users bool) (int, any, map[string]string) {
	in, err := decode(body)
	if err != nil || len(elements(in["schemas"])) != 1 || elements(in["schemas"])[0] != any(messagePatch) {
		return 400, failure{400, "invalidSyntax", "not a PatchOp"}, nil
	}
	for _, e := range elements(in["Operations"]) {
		o, _ := objectOf(e)
		op, path := o.text("op"), o.text("path")
		bad := func(kind string) (int, any, map[string]string) { return 400, failure{400, kind, op + " " + path}, nil }
		if !slices.Contains([]string{"add", "replace", "remove"}, op) {
			return bad("invalidSyntax")
		}
		if !users {
			list := o["value"]
			if whole, ok := objectOf(list); ok && path == "" && op == "add" {
				list = whole.get("members")
			} else if f.noPaths {
				return bad("invalidPath")
			}
			var ids []string
			for _, e := range elements(list) {
				if f.users[valueOf(e)] == nil {
					return bad("invalidValue")
				}
				ids = append(ids, valueOf(e))
			}
			m := memberPattern.FindStringSubmatch(path)
			switch {
			case op == "remove" && f.listOnly && m != nil:
				return 501, failure{501, "", "value paths"}, nil
			case op == "remove" && f.keepsMembers:
			case f.chunk > 0 && len(ids) > f.chunk, op == "replace", m != nil && f.noMemberPath:
				return bad("invalidValue")
			case op == "add":
				f.setMembers(held, ids, nil)
			case m != nil:
				f.setMembers(held, nil, []string{m[1]})
			default:
				f.setMembers(held, nil, ids)
			}
			continue
		}
		switch {
		case f.deaf || (f.deafToPaths && path != ""):
		case path != "" && f.noPaths && op != "remove":
			return bad("invalidPath")
		case path == "" && op == "remove":
			return bad("noTarget")
		case op == "remove":
			remove(held, path)
		case path == "":
			v, _ := objectOf(o["value"])
			for name, value := range v {
				held.set(name, value)
			}
		default:
			put(held, path, o["value"])
		}
	}
	f.keepPassword(held)
	n, _ := strconv.Atoi(held.text("version"))
	held["version"] = strconv.Itoa(n + 1)
	if f.patchBody {
		return 200, f.show(held), nil
	}
	return 204, nil, nil
}
