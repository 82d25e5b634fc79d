// Checks manifests as a Kubernetes API server does before it stores them: every field is known, every value is allowed.
// It is the server's own code, so there is no cluster and no schema to fetch. Run it with scripts/check-k8s.
package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/kubernetes/pkg/api/legacyscheme"
	podutil "k8s.io/kubernetes/pkg/api/pod"
	"k8s.io/kubernetes/pkg/apis/apps"
	_ "k8s.io/kubernetes/pkg/apis/apps/install"
	appsvalidation "k8s.io/kubernetes/pkg/apis/apps/validation"
	"k8s.io/kubernetes/pkg/apis/core"
	_ "k8s.io/kubernetes/pkg/apis/core/install"
	corevalidation "k8s.io/kubernetes/pkg/apis/core/validation"
	"k8s.io/kubernetes/pkg/apis/networking"
	_ "k8s.io/kubernetes/pkg/apis/networking/install"
	networkvalidation "k8s.io/kubernetes/pkg/apis/networking/validation"
	"k8s.io/kubernetes/pkg/apis/policy"
	_ "k8s.io/kubernetes/pkg/apis/policy/install"
	policyvalidation "k8s.io/kubernetes/pkg/apis/policy/validation"
)

// Unknown and doubled fields are errors.
var codecs = serializer.NewCodecFactory(legacyscheme.Scheme, serializer.EnableStrict)

func main() {
	files, err := filepath.Glob(filepath.Join(os.Args[1], "*.yaml"))
	if err != nil || len(files) == 0 {
		fmt.Fprintf(os.Stderr, "error: no manifests in %s\n", os.Args[1])
		os.Exit(2)
	}
	wrong := 0
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			fmt.Fprintf(os.Stderr, "error: %v\n", err)
			os.Exit(2)
		}
		wrong += checkFile(file, content)
	}
	if wrong > 0 {
		os.Exit(1)
	}
}

// checkFile checks every document of a file, and says what is wrong with how many of them.
func checkFile(file string, content []byte) (wrong int) {
	documents := yaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(content)))
	for {
		document, err := documents.Read()
		if errors.Is(err, io.EOF) {
			return wrong
		}
		var what string
		if err == nil {
			what, err = checkDocument(document)
		}
		if err != nil {
			wrong++
			fmt.Printf("wrong  %s: %s %v\n", file, what, err)
			if what == "" {
				return wrong
			}
			continue
		}
		fmt.Printf("valid  %s: %s\n", file, what)
	}
}

// checkDocument gives the object's kind and name.
func checkDocument(document []byte) (string, error) {
	json, err := yaml.ToJSON(document)
	if err != nil {
		return "", err
	}
	// Decoding fills in the defaults, as the server does.
	object, kind, err := codecs.UniversalDecoder().Decode(json, nil, nil)
	if err != nil {
		return "document", err
	}
	meta, ok := object.(metav1.Object)
	if !ok {
		return kind.Kind, errors.New("has no metadata")
	}
	meta.SetNamespace("default")
	return kind.Kind + " " + meta.GetName(), validate(object).ToAggregate()
}

func validate(object runtime.Object) field.ErrorList {
	switch object := object.(type) {
	case *core.ConfigMap:
		return corevalidation.ValidateConfigMap(object)
	case *core.Service:
		if object.Spec.ClusterIP != "" { // The server fills in the list before it validates.
			object.Spec.ClusterIPs = []string{object.Spec.ClusterIP}
		}
		return corevalidation.ValidateServiceCreate(object)
	case *apps.StatefulSet:
		options := podutil.GetValidationOptionsFromPodTemplate(&object.Spec.Template, nil)
		return appsvalidation.ValidateStatefulSet(object, options)
	case *policy.PodDisruptionBudget:
		return policyvalidation.ValidatePodDisruptionBudget(object, policyvalidation.PodDisruptionBudgetValidationOptions{})
	case *networking.NetworkPolicy:
		return networkvalidation.ValidateNetworkPolicy(object, networkvalidation.NetworkPolicyValidationOptions{})
	}
	return field.ErrorList{field.InternalError(nil, fmt.Errorf("no validation is known here for %T", object))}
}
