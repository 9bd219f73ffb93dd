package wire

import (
	"encoding/json"

	"github.com/stetl/stetl/core/diag"
	"github.com/stetl/stetl/core/pluginapi"
	"github.com/stetl/stetl/core/pluginpb"
)

// EncodeDescription never fails.
func EncodeDescription(d *pluginapi.Description) *pluginpb.DescribeResponse {
	p := &pluginpb.DescribeResponse{
		Name: clean(d.Name), Version: clean(d.Version), Minor: d.Minor,
		Capabilities: EncodeCapabilities(&d.Capabilities), ConfigSchemaJson: d.ConfigSchema,
	}
	for _, f := range d.ConfigFields {
		p.ConfigFields = append(p.ConfigFields, &pluginpb.ConfigField{
			Key: clean(f.Key), Title: clean(f.Title), Description: clean(f.Description),
			DefaultJson: clean(string(f.Default)), ExampleJson: clean(string(f.Example)), Required: f.Required, Secret: f.Secret,
		})
	}
	for _, c := range d.Codes {
		p.Codes = append(p.Codes, &pluginpb.CodeInfo{
			Code: clean(string(c.Code)), Meaning: clean(c.Meaning), Remedy: clean(c.Remedy), Path: clean(c.Path), Permanent: c.Permanent,
		})
	}
	return p
}

// DecodeDescription never fails: whoever speaks an older minor version leaves out what
// it does not know.
func DecodeDescription(p *pluginpb.DescribeResponse) pluginapi.Description {
	d := pluginapi.Description{
		Name: p.GetName(), Version: p.GetVersion(), Minor: p.GetMinor(),
		Capabilities: DecodeCapabilities(p.GetCapabilities()), ConfigSchema: p.GetConfigSchemaJson(),
	}
	for _, f := range p.GetConfigFields() {
		d.ConfigFields = append(d.ConfigFields, pluginapi.ConfigField{
			Key: f.GetKey(), Title: f.GetTitle(), Description: f.GetDescription(),
			Default: raw(f.GetDefaultJson()), Example: raw(f.GetExampleJson()), Required: f.GetRequired(), Secret: f.GetSecret(),
		})
	}
	for _, c := range p.GetCodes() {
		d.Codes = append(d.Codes, diag.Info{
			Code: diag.Code(c.GetCode()), Meaning: c.GetMeaning(), Remedy: c.GetRemedy(), Path: c.GetPath(), Permanent: c.GetPermanent(),
		})
	}
	return d
}

// raw is nil for what is no JSON.
func raw(s string) json.RawMessage {
	if !json.Valid([]byte(s)) {
		return nil
	}
	return json.RawMessage(s)
}
