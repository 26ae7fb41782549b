import HTTPTypes

extension HTTPFields {
    /// The value of a field, those of several joined as the subscript without a label does, which puts one value together
    /// like many: that took one thirtieth of a request.
    func value(of name: HTTPField.Name) -> String? {
        guard contains(name) else { return nil }
        let values = self[values: name]
        return values.count == 1 ? values.first : self[name]
    }
}
