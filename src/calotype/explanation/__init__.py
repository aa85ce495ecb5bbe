"""Why a model makes what it makes: the parts of the page of ``calotype explain``, each a pure function that returns plain data.

A part is a frozen dataclass that keeps to the protocol `calotype.explanation.section.Section`:

    name        of the part in ``explanation.json`` and in addresses of the page: "directions"
    title       its heading
    says        one sentence for somebody who never did this: what is to be seen and what follows from it
    exhibits()  what is to be seen, in order: `Strip` (images in rows), `LinePlot` (numbers over numbers), `Table` (words and numbers)
    data()      its numbers as plain data, for ``--json``; no pictures

It is the result of a function ``(arrays or a model, ...) -> Part`` in a module of this room, which draws nothing, opens nothing and prints
nothing. Who asks for it is one line of the table `calotype.evaluation.explaining.PARTS`: a name, and a function of `Explained` (the opened
model, its training, held-out and given images, the classifier, the seed) that returns the part, or None where the model has not what it
takes. It asks for protocols of `calotype.types`, never for a family. `calotype.report.page_explanation` makes the page of all parts, and
knows exhibits alone.

The room is called explanation, as that of ``evaluate`` is evaluation, for ``calotype.explain`` is the function.
"""
