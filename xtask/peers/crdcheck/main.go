// Reads CustomResourceDefinitions and resources of theirs, and checks them with the API server's own code:
// crdcheck definitions.json resources.json. Prints what it refuses.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"

	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions"
	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/install"
	v1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/validation"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/pruning"
	served "k8s.io/apiextensions-apiserver/pkg/apiserver/validation"
	"k8s.io/apimachinery/pkg/runtime"
)

type list[T any] struct {
	Items []T `json:"items"`
}

type checker struct {
	structural *schema.Structural
	schema     served.SchemaValidator
}

func read(path string, into any) {
	text, err := os.ReadFile(path)
	if err == nil {
		err = json.Unmarshal(text, into)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, path+":", err)
		os.Exit(1)
	}
}

func main() {
	scheme := runtime.NewScheme()
	install.Install(scheme)
	var definitions list[v1.CustomResourceDefinition]
	read(os.Args[1], &definitions)
	refused := 0
	refuse := func(where string, what any) {
		refused++
		fmt.Printf("%s: %v\n", where, what)
	}
	checkers := map[string]checker{}
	for i := range definitions.Items {
		definition := &definitions.Items[i]
		scheme.Default(definition)
		internal := &apiextensions.CustomResourceDefinition{}
		if err := scheme.Convert(definition, internal, nil); err != nil {
			refuse(definition.Name, err)
			continue
		}
		internal.Status.StoredVersions = []string{"v1alpha1"}
		for _, err := range validation.ValidateCustomResourceDefinition(context.Background(), internal) {
			refuse(definition.Name, err)
		}
		props := &apiextensions.JSONSchemaProps{}
		if err := v1.Convert_v1_JSONSchemaProps_To_apiextensions_JSONSchemaProps(definition.Spec.Versions[0].Schema.OpenAPIV3Schema, props, nil); err != nil {
			refuse(definition.Name, err)
			continue
		}
		structural, err := schema.NewStructural(props)
		if err != nil {
			refuse(definition.Name, err)
			continue
		}
		validator, _, err := served.NewSchemaValidator(props)
		if err != nil {
			refuse(definition.Name, err)
			continue
		}
		checkers[definition.Spec.Names.Kind] = checker{structural, validator}
	}
	var resources list[map[string]any]
	read(os.Args[2], &resources)
	for _, resource := range resources.Items {
		kind, _ := resource["kind"].(string)
		name := fmt.Sprintf("%s %v", kind, resource["metadata"].(map[string]any)["name"])
		checker, known := checkers[kind]
		if !known {
			refuse(name, "no definition")
			continue
		}
		for _, err := range served.ValidateCustomResource(nil, resource, checker.schema) {
			refuse(name, err)
		}
		for _, path := range pruning.PruneWithOptions(resource, checker.structural, true, schema.UnknownFieldPathOptions{TrackUnknownFieldPaths: true}) {
			refuse(name, "unknown field "+path)
		}
	}
	fmt.Printf("%d definitions, %d resources, %d refusals\n", len(definitions.Items), len(resources.Items), refused)
	if refused > 0 {
		os.Exit(1)
	}
}
