// Package manifests holds the examples for Kubernetes to the types of its API. It is a
// module of its own, so that nothing of Kubernetes is among what stetl depends on.
package manifests

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	"sigs.k8s.io/kustomize/api/types"
	"sigs.k8s.io/yaml"
)

const folder = "../../examples/deploy/kubernetes"

// kinds are those that the examples use.
var kinds = map[string]func() any{
	"batch/v1 Job":                                  func() any { return &batchv1.Job{} },
	"batch/v1 CronJob":                              func() any { return &batchv1.CronJob{} },
	"apps/v1 Deployment":                            func() any { return &appsv1.Deployment{} },
	"v1 Service":                                    func() any { return &corev1.Service{} },
	"v1 PersistentVolumeClaim":                      func() any { return &corev1.PersistentVolumeClaim{} },
	"policy/v1 PodDisruptionBudget":                 func() any { return &policyv1.PodDisruptionBudget{} },
	"kustomize.config.k8s.io/v1beta1 Kustomization": func() any { return &types.Kustomization{} },
}

// TestManifests decodes every manifest strictly, so that a field that does not exist, is
// in another place or has another type fails, and looks at what every pod must have.
func TestManifests(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob(filepath.Join(folder, "*.yaml"))
	if err != nil || len(files) < 5 {
		t.Fatal(files, err)
	}
	pods := 0
	for _, path := range files {
		raw, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for document := range bytes.SplitSeq(raw, []byte("\n---\n")) {
			var head struct{ APIVersion, Kind string }
			if err := yaml.Unmarshal(document, &head); err != nil {
				t.Fatalf("%s: %v", path, err)
			}
			fresh, ok := kinds[head.APIVersion+" "+head.Kind]
			if !ok {
				t.Errorf("%s: no type for %s %s", path, head.APIVersion, head.Kind)
				continue
			}
			object := fresh()
			if err := yaml.UnmarshalStrict(document, object); err != nil {
				t.Errorf("%s: %v", path, err)
			}
			var pod *corev1.PodSpec
			switch o := object.(type) {
			case *batchv1.Job:
				pod = &o.Spec.Template.Spec
			case *batchv1.CronJob:
				pod = &o.Spec.JobTemplate.Spec.Template.Spec
			case *appsv1.Deployment:
				pod = &o.Spec.Template.Spec
				for key, value := range o.Spec.Selector.MatchLabels {
					if o.Spec.Template.Labels[key] != value {
						t.Errorf("%s: the selector does not find its pods", path)
					}
				}
			}
			if pod != nil {
				pods++
				checkPod(t, path, pod)
			}
		}
	}
	if pods != 3 {
		t.Errorf("%d pods", pods)
	}
}

func checkPod(t *testing.T, path string, pod *corev1.PodSpec) {
	t.Helper()
	c := pod.Containers[0]
	if pod.SecurityContext == nil || !*pod.SecurityContext.RunAsNonRoot || !*c.SecurityContext.ReadOnlyRootFilesystem {
		t.Errorf("%s: the pod runs as root, or may write its file system", path)
	}
	for _, mount := range c.VolumeMounts {
		if !slices.ContainsFunc(pod.Volumes, func(v corev1.Volume) bool { return v.Name == mount.Name }) {
			t.Errorf("%s: no volume %s", path, mount.Name)
		}
	}
	if i := slices.Index(c.Args, "--config"); i < 0 {
		t.Errorf("%s: no configuration", path)
	} else if _, err := os.Stat(filepath.Join(folder, "config", strings.TrimPrefix(c.Args[i+1], "/etc/stetl/"))); err != nil {
		t.Errorf("%s: %v", path, err)
	}
}
